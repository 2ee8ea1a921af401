using Kapell.Etcd.Protocol;

namespace Kapell.Etcd.Server.Comparison;

/// <summary>Whom <see cref="MemberComparison"/> compares, and how they are asked.</summary>
internal interface IComparedMembers
{
    ulong Self { get; }

    /// <summary>All members of the cluster, with learners: of them a majority decides.</summary>
    int Count { get; }

    CompareAnswer Own(CompareRequest request);

    /// <summary>Those that answered in time. One that lags may be waited for.</summary>
    Task<IReadOnlyDictionary<ulong, CompareAnswer>> OthersAsync(CompareRequest request, CancellationToken cancellation);
}
