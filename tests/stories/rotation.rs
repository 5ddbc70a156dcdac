//! Story: Debian's logrotate turns files over, in each of its ways, while a program writes and Logherd follows.

use crate::eventually::eventually;
use crate::output::Tally;
use crate::service::program;
use crate::world::{START, World};
use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;

/// A program that writes numbered lines into `app.log`, and the logrotate beside it.
struct Writer<'w> {
    world: &'w World,
    logrotate: PathBuf,
    file: File,
    written: usize,
}

impl<'w> Writer<'w> {
    /// Has logrotate do it in the given way, whenever it is told to.
    fn new(world: &'w World, way: &str) -> Option<Self> {
        let logrotate = program("logrotate", "logrotate")?;
        std::fs::create_dir(world.path("logs")).unwrap();
        let text = format!("{} {{\nrotate 20\n{way}\n}}\n", world.path("logs/app.log").display());
        std::fs::write(world.path("logrotate.conf"), text).unwrap();
        let mut command = Command::new("chmod");
        command.arg("0644").arg(world.path("logrotate.conf"));
        assert!(command.status().unwrap().success());
        Some(Self { world, logrotate, file: open(world), written: 0 })
    }

    fn write(&mut self, lines: usize) {
        let (from, to) = (self.written + 1, self.written + lines);
        let text: String = (from..=to).map(|number| format!("line {number}.\n")).collect();
        self.file.write_all(text.as_bytes()).unwrap();
        self.written = to;
    }

    fn rotate(&self) {
        let mut command = Command::new(&self.logrotate);
        command.arg("--force").arg("--state").arg(self.world.path("logrotate.state"));
        let done = command.arg(self.world.path("logrotate.conf")).output().unwrap();
        assert!(done.status.success() && done.stderr.is_empty(), "{done:?}");
    }

    /// What a program does when logrotate tells it to.
    fn reopen(&mut self) {
        self.file = open(self.world);
    }

    /// Waits until every line is out, each once.
    async fn all_out(&self) {
        let output = self.world.output("out.txt");
        let all = async || match output.tally("line ", ".") {
            tally if tally.distinct >= self.written => Ok(()),
            tally => Err(format!("{} were written: {tally:?}", self.written)),
        };
        eventually("every line is out", START, all).await;
        let expected = Tally { lines: self.written, distinct: self.written, ..Tally::default() };
        let seen = output.tally("line ", ".");
        assert_eq!(Tally { ascending: false, ..seen }, expected);
    }
}

fn open(world: &World) -> File {
    File::options().create(true).append(true).open(world.path("logs/app.log")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_renamed_and_made_anew_are_read_to_their_ends_and_every_line_comes_once() {
    for way in ["create 0644", "nocreate"] {
        let world = World::new().await;
        let Some(mut writer) = Writer::new(&world, way) else { return };
        let _run = world.run(&(world.follows("logs/app.log") + &world.writes("out.txt")), &[]).await;
        for _ in 0..8 {
            writer.write(700);
            writer.rotate();
            // The program has not noticed yet: it still writes into the file that has another name now.
            writer.write(300);
            writer.reopen();
            writer.write(50);
            // Between two rotations time passes, so that the pipeline sees each file at all.
            writer.all_out().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_copied_and_cut_off_is_read_from_its_beginning_again() {
    let world = World::new().await;
    let Some(mut writer) = Writer::new(&world, "copytruncate") else { return };
    let _run = world.run(&(world.follows("logs/app.log") + &world.writes("out.txt")), &[]).await;
    // Longer each time than before it was cut off: that it was is not to be seen by its length.
    for lines in [10, 500, 800, 1_000, 30, 40] {
        writer.write(lines);
        writer.all_out().await;
        writer.rotate();
    }
    writer.write(5);
    writer.all_out().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_rotated_while_the_pipeline_was_down_is_read_where_it_stopped_and_no_line_twice() {
    let world = World::new().await;
    let Some(mut writer) = Writer::new(&world, "create 0644") else { return };
    let config = world.follows("logs/app.log*") + &world.writes("out.txt");
    writer.write(1_000);
    let mut run = world.run(&config, &[]).await;
    writer.all_out().await;
    assert!(run.stop().await.success(), "{}", run.printed());
    writer.write(500);
    writer.rotate();
    writer.write(100);
    writer.reopen();
    writer.write(900);
    writer.rotate();
    writer.reopen();
    writer.write(10);
    run.start_again();
    writer.all_out().await;
    run.kill();
    writer.write(100);
    writer.rotate();
    writer.reopen();
    writer.write(10);
    run.start_again();
    // The last second before a kill may come twice.
    let output = world.output("out.txt");
    let all = async || match output.tally("line ", ".") {
        tally if tally.distinct >= writer.written => Ok(tally),
        tally => Err(format!("{} were written: {tally:?}", writer.written)),
    };
    let (tally, _) = eventually("every line is out", START, all).await;
    println!("after a kill and a rotation: {} duplicates", tally.duplicates);
    assert_eq!(tally.first_missing, None);
}
