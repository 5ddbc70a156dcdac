//! Says what is wrong with the container of a task or an executor.

use mesos::container_info::Type;
use mesos::{ContainerInfo, Volume};
use proto::mesos::v1 as mesos;

/// What is wrong with a container.
pub(super) fn container_error(container: &ContainerInfo) -> Option<String> {
    container.volumes.iter().find_map(volume_error).or_else(|| {
        if container.r#type() != Type::Docker {
            return None;
        }
        let Some(docker) = &container.docker else {
            return Some("DockerInfo 'docker' is not set for DOCKER typed ContainerInfo".into());
        };
        docker
            .parameters
            .iter()
            .any(|parameter| parameter.key == "name")
            .then(|| "Parameter in DockerInfo must not be 'name'".to_owned())
    })
}

/// A volume has exactly one source.
fn volume_error(volume: &Volume) -> Option<String> {
    let sources = [volume.host_path.is_some(), volume.image.is_some(), volume.source.is_some()];
    match sources.iter().filter(|set| **set).count() {
        0 => Some(format!(
            "Volume '{}': one of 'host_path', 'image' or 'source' must be set",
            volume.container_path
        )),
        1 => None,
        _ => Some(format!(
            "Volume '{}': only one of 'host_path', 'image' and 'source' may be set",
            volume.container_path
        )),
    }
}
