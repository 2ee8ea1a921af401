using Grpc.Core;
using Kapell.Etcd.Protocol;

namespace Kapell.Etcd.Client.Members;

/// <summary>Carries out <see cref="ReplacementPlan"/> against a running cluster, Kapell's or etcd's.</summary>
internal sealed class MemberReplacement(ClusterAccess cluster, ReplacementWish wish, TimeProvider time, TextWriter output)
{
    private static readonly TimeSpan Pause = TimeSpan.FromSeconds(1);
    private ReplacementStep? _said;

    /// <summary>True when it is done; false when it was refused, and the reason is printed.</summary>
    /// <exception cref="TimeoutException">Not in time; it can be taken up again.</exception>
    public async Task<bool> RunAsync(TimeSpan patience, CancellationToken cancellation)
    {
        long begun = time.GetTimestamp();
        string last = "";
        while (time.GetElapsedTime(begun) < patience)
        {
            try
            {
                IReadOnlyList<Member> members = await cluster.MembersAsync(cancellation);
                ReplacementPlan plan = ReplacementPlan.Next(wish, members, await cluster.AliveAsync(members, cancellation));
                if (plan.Step is ReplacementStep.Done or ReplacementStep.Refused)
                {
                    await output.WriteLineAsync(plan.Step == ReplacementStep.Done ? "replaced: " + Describe(members) : "refused: " + plan.Words);
                    return plan.Step == ReplacementStep.Done;
                }

                await SayAsync(plan.Step, members);
                await CarryOutAsync(plan.Step, members, cancellation);
            }
            catch (RpcException e) when (e.StatusCode is StatusCode.Unavailable or StatusCode.DeadlineExceeded or StatusCode.FailedPrecondition)
            {
                // What was asked may have been done: the next look at the members tells.
                last = e.Status.Detail;
            }

            await Task.Delay(Pause, time, cancellation);
        }

        throw new TimeoutException($"not done within {patience.TotalSeconds:0} s{(last.Length > 0 ? $" (the cluster says: {last})" : "")}; the same command takes it up again");
    }

    private async Task CarryOutAsync(ReplacementStep step, IReadOnlyList<Member> members, CancellationToken cancellation)
    {
        switch (step)
        {
            case ReplacementStep.Add:
                Member added = await cluster.AddLearnerAsync(wish.PeerUrls, wish.Dead, cancellation);
                await output.WriteLineAsync($"added member {ReplacementPlan.Hex(added.ID)} as a learner");
                break;
            case ReplacementStep.Promote:
                await cluster.PromoteAsync(Fresh(members).ID, cancellation);
                await output.WriteLineAsync($"member {ReplacementPlan.Hex(Fresh(members).ID)} votes");
                break;
            case ReplacementStep.Remove:
                await cluster.RemoveAsync(wish.Dead, cancellation);
                await output.WriteLineAsync($"member {ReplacementPlan.Hex(wish.Dead)} is removed for good");
                break;
        }
    }

    private async Task SayAsync(ReplacementStep step, IReadOnlyList<Member> members)
    {
        if (_said == step)
        {
            return;
        }

        _said = step;
        string? text = step switch
        {
            ReplacementStep.AwaitStart when Fresh(members).Name.Length == 0 =>
                "waiting for the new member: start it on an empty data directory with\n"
                + $"  --initial-advertise-peer-urls {string.Join(',', wish.PeerUrls)} --initial-cluster-state existing \\\n"
                + $"  --name NAME --initial-cluster NAME={wish.PeerUrls[0]},{string.Join(',', members.Where(m => m.Name.Length > 0 && m.ID != wish.Dead).SelectMany(static m => m.PeerURLs.Select(u => $"{m.Name}={u}")))}",
            ReplacementStep.AwaitStart => "waiting for the new member to answer",
            ReplacementStep.Promote => "waiting for it to catch up",
            _ => null,
        };
        if (text is not null)
        {
            await output.WriteLineAsync(text);
        }
    }

    private Member Fresh(IReadOnlyList<Member> members) => members.First(m => wish.PeerUrls.ToHashSet(StringComparer.Ordinal).SetEquals(m.PeerURLs));

    private static string Describe(IEnumerable<Member> members) =>
        string.Join(", ", members.Select(static m => $"{ReplacementPlan.Hex(m.ID)} {m.Name}{(m.IsLearner ? " (learner)" : "")}"));
}
