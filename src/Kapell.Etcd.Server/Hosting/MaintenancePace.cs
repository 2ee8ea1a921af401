namespace Kapell.Etcd.Server.Hosting;

/// <summary>How much of its time the one thread that serves gives to freeing what was compacted.</summary>
internal static class MaintenancePace
{
    /// <summary>Of a step. The clock is asked every few records: in a large store one may cost thirty times what another does.</summary>
    public static readonly TimeSpan StepTime = TimeSpan.FromMilliseconds(1);

    /// <summary>Between two steps at most, however slow the last was: a compaction must come to its end.</summary>
    public static readonly TimeSpan RestMax = TimeSpan.FromMilliseconds(100);

    private const int RestPerSlowStep = 4;
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(1);
    private static readonly TimeSpan TidyingPause = TimeSpan.FromMilliseconds(5);

    /// <summary>
    /// Until the next step. A step that took twice its time or more met a machine that is slow just now (memory that the host had taken, a processor
    /// that others have): who writes waits for that as well, so the freeing makes room until it is over.
    /// </summary>
    /// <param name="took">What the last step took.</param>
    /// <param name="tidying">What is freed is mostly alive: there is time.</param>
    public static TimeSpan RestAfter(TimeSpan took, bool tidying)
    {
        TimeSpan pause = tidying ? TidyingPause : Pause;
        return took < StepTime * 2 ? pause : new TimeSpan(Math.Clamp(took.Ticks * RestPerSlowStep, pause.Ticks, RestMax.Ticks));
    }
}
