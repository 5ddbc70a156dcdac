import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.opensearch.common.settings.Settings;
import org.opensearch.node.InternalSettingsPreparer;
import org.opensearch.node.Node;
import org.opensearch.transport.Netty4Plugin;

/** Runs one OpenSearch node on loopback: {@code SearchServer HOME PORT}. */
public final class SearchServer extends Node {
    private SearchServer(Settings settings) {
        super(InternalSettingsPreparer.prepareEnvironment(settings, Map.of(), null, () -> "story"), List.of(Netty4Plugin.class), false);
    }

    public static void main(String[] arguments) throws Exception {
        Settings settings = Settings.builder()
            .put("path.home", arguments[0])
            .put("path.data", Path.of(arguments[0], "data").toString())
            .put("http.type", "netty4")
            .put("http.host", "127.0.0.1")
            .put("http.port", arguments[1])
            .put("transport.type", "netty4")
            .put("transport.host", "127.0.0.1")
            .put("transport.port", "0")
            .put("discovery.type", "single-node")
            .put("cluster.routing.allocation.disk.threshold_enabled", false)
            .build();
        new SearchServer(settings).start();
        Thread.currentThread().join();
    }
}
