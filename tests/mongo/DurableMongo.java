/* DurableMongo.java - a MongoDB-compatible server for tests that commits before it answers.
 *
 * Usage: DurableMongo FILE PORT [ADDRESS]   (port 0: a free one; address 127.0.0.1). Prints "listening PORT" and runs until killed. Without the commit a
 * kill -9 would lose acknowledged writes, which is what our tests are about. MONGO_INITDB_ROOT_USERNAME and _PASSWORD, as in the real
 * image: then a client has to log in (SCRAM-SHA-1).
 */
import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.backend.h2.H2Backend;
import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.wire.message.MongoMessage;
import io.netty.channel.Channel;
import java.net.InetSocketAddress;
import java.util.Set;

public final class DurableMongo {
    private static final Set<String> WRITES = Set.of("insert", "update", "delete", "findAndModify", "findandmodify",
            "createIndexes", "create", "drop", "dropDatabase", "dropIndexes");

    private static final class Backend extends H2Backend {
        private final Scram scram = new Scram(System.getenv("MONGO_INITDB_ROOT_USERNAME"), System.getenv("MONGO_INITDB_ROOT_PASSWORD"));

        Backend(String file) {
            super(file);
        }

        private void commitAfter(String command) {
            if (WRITES.contains(command))
                commit();
        }

        @Override
        public Document handleMessage(MongoMessage message) {
            String command = message.getDocument().keySet().iterator().next();
            Document answer = scram.answer(message.getChannel(), command, message.getDocument());

            if (answer != null)
                return answer;
            answer = super.handleMessage(message);
            commitAfter(command);
            return answer;
        }

        @Override
        public Document handleCommand(Channel channel, String database, String command, Document query) {
            Document answer = scram.answer(channel, command, query);

            if (answer != null)
                return answer;
            answer = super.handleCommand(channel, database, command, query);
            commitAfter(command);
            return answer;
        }
    }

    private DurableMongo() {
    }

    public static void main(String[] args) {
        MongoServer server = new MongoServer(new Backend(args[0]));
        server.bind(new InetSocketAddress(args.length > 2 ? args[2] : "127.0.0.1", Integer.parseInt(args[1])));
        System.out.println("listening " + server.getLocalAddress().getPort());
        System.out.flush();
    }
}
