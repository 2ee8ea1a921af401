using System.Globalization;

namespace Kapell.Bench.Scale;

/// <summary>For how long the threads of a process ran, and were ready to and did not (Linux, Documentation/scheduler/sched-stats.rst, /proc/PID/schedstat).</summary>
internal sealed class ThreadTimes(int process)
{
    private Dictionary<string, (TimeSpan Ran, TimeSpan Waited)> _before = [];

    /// <summary>Of the thread that ran most since the last time that this was asked; null: nothing is known.</summary>
    public (TimeSpan Ran, TimeSpan Waited)? Busiest()
    {
        Dictionary<string, (TimeSpan Ran, TimeSpan Waited)> now = [];
        string tasks = $"/proc/{process}/task";
        if (process <= 0 || !Directory.Exists(tasks))
        {
            return null;
        }

        foreach (string task in Directory.GetDirectories(tasks))
        {
            try
            {
                string[] words = File.ReadAllText(Path.Combine(task, "schedstat")).Split(' ');
                now[task] = (Nanoseconds(words[0]), Nanoseconds(words[1]));
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // It has ended meanwhile.
            }
        }

        (TimeSpan Ran, TimeSpan Waited)? busiest = null;
        foreach ((string task, (TimeSpan ran, TimeSpan waited)) in now)
        {
            if (_before.TryGetValue(task, out (TimeSpan Ran, TimeSpan Waited) before) && !(busiest?.Ran >= ran - before.Ran))
            {
                busiest = (ran - before.Ran, waited - before.Waited);
            }
        }

        _before = now;
        return busiest;
    }

    private static TimeSpan Nanoseconds(string text) => TimeSpan.FromTicks(long.Parse(text, CultureInfo.InvariantCulture) / TimeSpan.NanosecondsPerTick);
}
