/* Scram.java - the server's side of SCRAM-SHA-1 (RFC 5802) for the test server, with one user, as MongoDB does it: the password that is
 * salted is the MD5 of "user:mongo:password" in hex. Without a user everybody may do everything.
 */
import de.bwaldvogel.mongo.bson.BinData;
import de.bwaldvogel.mongo.bson.Document;
import io.netty.channel.Channel;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.security.SecureRandom;
import java.util.Base64;
import java.util.HexFormat;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import javax.crypto.Mac;
import javax.crypto.SecretKeyFactory;
import javax.crypto.spec.PBEKeySpec;
import javax.crypto.spec.SecretKeySpec;

final class Scram {
    private static final int ITERATIONS = 10000;
    private static final Set<String> OPEN_TO_ALL = Set.of("hello", "isMaster", "ismaster", "ping", "buildInfo", "buildinfo", "saslStart", "saslContinue");

    /** What one connection has said so far. */
    private static final class Talk {
        String first, nonce, signature;
        boolean done;
    }

    private final Map<Channel, Talk> talks = new ConcurrentHashMap<>();
    private final SecureRandom random = new SecureRandom();
    private final byte[] salt = new byte[16];
    private final String user;
    private final byte[] salted;

    Scram(String user, String password) {
        this.user = user == null ? "" : user;
        random.nextBytes(salt);
        try {
            byte[] md5 = MessageDigest.getInstance("MD5").digest((user + ":mongo:" + password).getBytes(StandardCharsets.UTF_8));
            PBEKeySpec spec = new PBEKeySpec(HexFormat.of().formatHex(md5).toCharArray(), salt, ITERATIONS, 160);
            salted = SecretKeyFactory.getInstance("PBKDF2WithHmacSHA1").generateSecret(spec).getEncoded();
        } catch (GeneralSecurityException e) {
            throw new IllegalStateException(e);
        }
    }

    /** The answer when the command is ours or not allowed, else null. */
    Document answer(Channel channel, String command, Document query) {
        Talk talk = user.isEmpty() ? null : talks.computeIfAbsent(channel, c -> {
            c.closeFuture().addListener(f -> talks.remove(c));
            return new Talk();
        });

        if (talk == null)
            return null;
        try {
            if (command.equals("saslStart"))
                return start(talk, text(query.get("payload")));
            if (command.equals("saslContinue"))
                return proceed(talk, text(query.get("payload")));
        } catch (GeneralSecurityException | RuntimeException e) {
            return refusal(18, "Authentication failed.");
        }
        return talk.done || OPEN_TO_ALL.contains(command) ? null : refusal(13, "command " + command + " requires authentication");
    }

    private Document start(Talk talk, String message) {
        byte[] own = new byte[18];

        if (!message.startsWith("n,,n=" + user + ",r="))
            return refusal(18, "Authentication failed.");
        random.nextBytes(own);
        talk.nonce = field(message, "r=") + Base64.getEncoder().encodeToString(own);
        String reply = "r=" + talk.nonce + ",s=" + Base64.getEncoder().encodeToString(salt) + ",i=" + ITERATIONS;
        talk.first = message.substring(3) + "," + reply;
        return reply(reply, false);
    }

    private Document proceed(Talk talk, String message) throws GeneralSecurityException {
        if (talk.signature != null) {                   // the client has seen our proof too
            talk.done = true;
            return reply("", true);
        }
        String whole = talk.first + "," + message.substring(0, message.indexOf(",p="));
        byte[] key = hmac(salted, "Client Key"), stored = MessageDigest.getInstance("SHA-1").digest(key), mask = hmac(stored, whole);
        byte[] proof = Base64.getDecoder().decode(field(message, "p="));

        for (int i = 0; i < proof.length; i++)
            proof[i] ^= mask[i];
        if (!field(message, "r=").equals(talk.nonce) || !MessageDigest.isEqual(MessageDigest.getInstance("SHA-1").digest(proof), stored))
            return refusal(18, "Authentication failed.");
        talk.signature = Base64.getEncoder().encodeToString(hmac(hmac(salted, "Server Key"), whole));
        return reply("v=" + talk.signature, false);
    }

    private static String field(String message, String name) {
        for (String part : message.split(","))
            if (part.startsWith(name))
                return part.substring(name.length());
        throw new IllegalArgumentException("no " + name);
    }

    private static byte[] hmac(byte[] key, String text) throws GeneralSecurityException {
        Mac mac = Mac.getInstance("HmacSHA1");
        mac.init(new SecretKeySpec(key, "HmacSHA1"));
        return mac.doFinal(text.getBytes(StandardCharsets.UTF_8));
    }

    private static String text(Object payload) {
        return new String(payload instanceof BinData ? ((BinData) payload).getData() : (byte[]) payload, StandardCharsets.UTF_8);
    }

    private static Document reply(String payload, boolean done) {
        return new Document("conversationId", 1).append("done", done).append("payload", new BinData(payload.getBytes(StandardCharsets.UTF_8))).append("ok", 1.0);
    }

    private static Document refusal(int code, String text) {
        return new Document("ok", 0.0).append("errmsg", text).append("code", code);
    }
}
