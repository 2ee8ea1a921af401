using Kapell.Etcd.Client.Members;
using Kapell.Etcd.Protocol;
using Xunit;

namespace Kapell.Etcd.Tests.Client;

public sealed class ReplacementPlanTests
{
    private static readonly ReplacementWish Wish = new(3, ["http://new:1"], 0);

    [Fact]
    public void The_order_never_leaves_fewer_voters()
    {
        Assert.Equal(ReplacementStep.Add, Step(Members("1", "2", "3"), 1, 2));
        Assert.Equal(ReplacementStep.AwaitStart, Step(Members("1", "2", "3", "4?"), 1, 2));
        Assert.Equal(ReplacementStep.Promote, Step(Members("1", "2", "3", "4l"), 1, 2, 4));
        Assert.Equal(ReplacementStep.AwaitStart, Step(Members("1", "2", "3", "4"), 1, 2));
        Assert.Equal(ReplacementStep.Remove, Step(Members("1", "2", "3", "4"), 1, 2, 4));
        Assert.Equal(ReplacementStep.Done, Step(Members("1", "2", "4"), 1, 2, 4));

        // The dead one may have been removed by hand meanwhile.
        Assert.Equal(ReplacementStep.Promote, Step(Members("1", "2", "4l"), 1, 2, 4));
    }

    [Fact]
    public void What_would_do_harm_is_refused_with_words()
    {
        Assert.Contains("answers: it is not dead", Refusal(Wish, Members("1", "2", "3"), 1, 2, 3), StringComparison.Ordinal);
        Assert.Contains("there is no member 3", Refusal(Wish, Members("1", "2"), 1, 2), StringComparison.Ordinal);
        Assert.Contains("only 1 of 3 voting members answer", Refusal(Wish, Members("1", "2", "3"), 1), StringComparison.Ordinal);
        Assert.Contains("member 5 is a learner already", Refusal(Wish, Members("1", "2", "3", "5l"), 1, 2, 5), StringComparison.Ordinal);
        Assert.Contains("fewer than --min-voters=5", Refusal(Wish with { VotersMin = 5 }, Members("1", "2", "3"), 1, 2), StringComparison.Ordinal);
        Assert.Contains("is a learner and does not vote", Refusal(Wish, Members("1", "2", "3l"), 1, 2), StringComparison.Ordinal);
        Assert.Contains("of its own", Refusal(Wish with { Dead = 4 }, Members("1", "2", "4"), 1, 2), StringComparison.Ordinal);
        Assert.Contains("only 2 of 4 voting members", Refusal(Wish, Members("1", "2", "3", "5"), 1, 2), StringComparison.Ordinal);
    }

    private static ReplacementStep Step(Member[] members, params ulong[] alive) => ReplacementPlan.Next(Wish, members, alive.ToHashSet()).Step;

    private static string Refusal(ReplacementWish wish, Member[] members, params ulong[] alive)
    {
        ReplacementPlan plan = ReplacementPlan.Next(wish, members, alive.ToHashSet());
        Assert.Equal(ReplacementStep.Refused, plan.Step);
        return plan.Words;
    }

    /// <summary>A number, with "l" for a learner and "?" for one that never ran. Number 4 is the new one.</summary>
    private static Member[] Members(params string[] all) => [.. all.Select(static text =>
    {
        ulong id = (ulong)(text[0] - '0');
        bool never = text.EndsWith('?');
        Member member = new() { ID = id, Name = never ? "" : $"m{id}", IsLearner = never || text.EndsWith('l') };
        member.PeerURLs.Add(id == 4 ? "http://new:1" : $"http://m{id}:1");
        return member;
    })];
}
