import java.io.BufferedReader;
import java.io.InputStreamReader;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.recipes.leader.LeaderLatch;
import org.apache.curator.retry.RetryOneTime;

/** Takes part in an election through Curator, and answers each line of its input with one of its output. */
public class CuratorParticipant {
  public static void main(String[] args) throws Exception {
    try (CuratorFramework client = CuratorFrameworkFactory.newClient(args[0], 5_000, 5_000, new RetryOneTime(100))) {
      client.start();
      client.blockUntilConnected();
      LeaderLatch latch = null;
      BufferedReader input = new BufferedReader(new InputStreamReader(System.in));
      for (String line = input.readLine(); line != null; line = input.readLine()) {
        String[] words = line.split(" ");
        switch (words[0]) {
          case "join":
            latch = new LeaderLatch(client, words[1], words[2]);
            latch.start();
            System.out.println("joined");
            break;
          case "lead":
            latch = new LeaderLatch(client, words[1], words[2]);
            latch.start();
            latch.await();
            System.out.println("leads");
            break;
          case "leads":
            System.out.println(latch != null && latch.hasLeadership());
            break;
          case "who":
            System.out.println(latch.getLeader().getId());
            break;
          case "leave":
            latch.close();
            latch = null;
            System.out.println("left");
            break;
        }
      }
    }
  }
}
