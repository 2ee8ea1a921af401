using Kapell.Etcd.Server.Proxies.Shared;

namespace Kapell.Etcd.Server.Proxies.KeepAlives;

/// <summary>One client's stream of keep-alives.</summary>
internal sealed class KeepAliveBranch : Branch
{
    private const int UnansweredMax = 1024;

    private int _unanswered;
    private bool _askedAll;

    public override bool IsBusy => Volatile.Read(ref _unanswered) >= UnansweredMax;

    public void Asked() => Interlocked.Increment(ref _unanswered);

    public void Answered()
    {
        Interlocked.Decrement(ref _unanswered);
        EndIfDone();
    }

    /// <summary>It ends with its last answer.</summary>
    public void AskedAll()
    {
        _askedAll = true;
        EndIfDone();
    }

    private void EndIfDone()
    {
        if (_askedAll && _unanswered == 0)
        {
            End(null);
        }
    }
}
