package hearth;

import java.lang.management.ManagementFactory;
import java.lang.management.MemoryPoolMXBean;
import java.lang.management.MemoryType;
import javax.management.NotificationEmitter;

/**
 * Keeps the heap within the function's memory. A virtual machine fixes the most its heap may take when it starts, and
 * ours starts before the function is known, with a bound larger than any function's: without this it would rather grow
 * than collect garbage. What is really in use has no bound here; the sandbox's own ends the process.
 */
final class MemoryWatch {
  /** What a machine takes besides its heap. */
  private static final long OTHERS_BYTES = 48L * 1024 * 1024;
  private static final long LEAST_BYTES = 24L * 1024 * 1024;

  private MemoryPoolMXBean pool;
  private long comfortable;
  private long most;

  /** Finds the pool of what has outlived a collection. */
  void prepare() {
    for (MemoryPoolMXBean candidate : ManagementFactory.getMemoryPoolMXBeans()) {
      if (candidate.getType() == MemoryType.HEAP && candidate.isUsageThresholdSupported()) {
        pool = candidate;
      }
    }
    if (pool != null && ManagementFactory.getMemoryMXBean() instanceof NotificationEmitter emitter) {
      emitter.addNotificationListener((notification, handback) -> collect(), null, null);
    }
  }

  /** Begins to watch, for a function of {@code memoryMb}. */
  void begin(int memoryMb) {
    most = Math.max(memoryMb * 1024L * 1024 - OTHERS_BYTES, LEAST_BYTES);
    comfortable = most / 2;
    set(comfortable);
  }

  private synchronized void collect() {
    System.gc();
    long used = pool.getUsage().getUsed();
    // Above it, there is another collection when half of what is left has been used.
    set(used < comfortable ? comfortable : used + Math.max((most - used) / 2, 1024 * 1024));
  }

  private void set(long threshold) {
    if (pool != null) {
      pool.setUsageThreshold(Math.min(threshold, pool.getUsage().getMax() < 0 ? threshold : pool.getUsage().getMax()));
    }
  }
}
