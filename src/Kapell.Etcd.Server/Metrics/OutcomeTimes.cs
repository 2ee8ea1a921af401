using Kapell.Base;

namespace Kapell.Etcd.Server.Metrics;

/// <summary>How long something took, in seconds, apart for success and failure.</summary>
internal sealed class OutcomeTimes(Func<Histogram> make)
{
    private readonly Histogram _good = make();
    private readonly Histogram _bad = make();

    public void Observe(double seconds, bool success) => (success ? _good : _bad).Observe(seconds);

    /// <summary>With labels, as upstream gives them; a failure that never was has none.</summary>
    public IEnumerable<(string Labels, Histogram Times)> Show(string labels = "")
    {
        yield return (labels + "success=\"true\"", _good);
        if (_bad.Cumulated()[^1] > 0)
        {
            yield return (labels + "success=\"false\"", _bad);
        }
    }
}
