namespace Kapell.Kubelet.Probing;

/// <summary>The three probes.</summary>
internal enum ProbeKind
{
    Startup,
    Liveness,
    Readiness,
}

/// <summary>
/// Turns single results into a verdict: so many in a row of the same kind are needed before the verdict changes.
/// // Kubernetes: pkg/kubelet/prober/worker.go doProbe
/// </summary>
internal sealed class ProbeCounter(int successThreshold, int failureThreshold)
{
    private bool? _last;
    private int _run;

    /// <returns>The new verdict, or null while the threshold is not reached.</returns>
    public bool? Add(bool success)
    {
        _run = _last == success ? _run + 1 : 1;
        _last = success;
        return _run >= (success ? successThreshold : failureThreshold) ? success : null;
    }
}
