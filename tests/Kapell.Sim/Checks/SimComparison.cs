using Google.Protobuf;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Comparison;
using Kapell.Sim.World;

namespace Kapell.Sim.Checks;

/// <summary>The product's comparison of members, seen from one of them, with calls in place of the peer port.</summary>
internal sealed class SimComparison(Simulation sim, MemberProcess self) : IComparedMembers
{
    public ulong Self => (ulong)self.Number;

    public int Count => self.Replica.Applier.Members.All.Count;

    /// <summary>From the view of each member that runs: none may find a difference, whoever lags or has not yet freed what is compacted.</summary>
    public static void Run(Simulation sim)
    {
        foreach (MemberProcess process in sim.Running.ToArray())
        {
            MemberComparison comparison = new(new SimComparison(sim, process));
            for (ByteString? next = ByteString.Empty; next is not null;)
            {
                // Completes at once: nothing here waits.
                PieceOutcome outcome = comparison.PieceAsync(next, CancellationToken.None).GetAwaiter().GetResult();
                if (outcome.Difference is { } difference)
                {
                    throw sim.Fail($"as {process.Number} sees it, {difference}");
                }

                next = outcome.Next;
            }
        }
    }

    public CompareAnswer Own(CompareRequest request) => StoreAnswers.Answer(self.Store, request);

    public Task<IReadOnlyDictionary<ulong, CompareAnswer>> OthersAsync(CompareRequest request, CancellationToken cancellation) =>
        Task.FromResult<IReadOnlyDictionary<ulong, CompareAnswer>>(sim.Running.Where(p => p != self)
            .ToDictionary(static p => (ulong)p.Number, p => StoreAnswers.Answer(p.Store, request)));
}
