using Google.Protobuf;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Replication;
using Kapell.Raft;
using Xunit;

namespace Kapell.Etcd.Tests.Replication;

public sealed class MemberRegistryTests
{
    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(3)]
    public void As_many_learners_are_taken_in_as_who_was_asked_allows(int max)
    {
        MemberRegistry members = new();
        members.Set(new Member { ID = 1, Name = "one", PeerURLs = { "http://p:1" } });
        for (ulong id = 2; id < 2 + (ulong)max; id++)
        {
            Assert.Null(Add(members, id, max));
        }

        Assert.Same(EtcdError.TooManyLearners, Add(members, 9, max));
        Assert.Equal(1 + max, members.All.Count);
    }

    [Fact]
    public void The_bound_is_in_the_log_and_older_versions_read_the_member_all_the_same()
    {
        Member member = new() { ID = 7, PeerURLs = { "http://p:7" }, IsLearner = true };
        byte[] plain = new MembershipContext(5, member).Encode();
        Assert.Equal([5, 0, 0, 0, 0, 0, 0, 0, .. member.ToByteArray()], plain);
        foreach (int max in new[] { 0, 1, 2, 100 })
        {
            MembershipContext context = new(5, member) { LearnersMax = max };
            byte[] bytes = context.Encode();
            Assert.Equal(context, MembershipContext.Decode(bytes));
            Assert.Equal(7UL, Member.Parser.ParseFrom(bytes.AsSpan(8)).ID);
        }

        Assert.Equal(1, MembershipContext.Decode(default).LearnersMax);
        Assert.Equal(1, MembershipContext.Decode(new MembershipContext(5, null).Encode()).LearnersMax);
    }

    private static EtcdError? Add(MemberRegistry members, ulong id, int max)
    {
        ConfChangeStep step = new(ConfChangeKind.AddLearner, new MemberId(id));
        Member member = new() { ID = id, PeerURLs = { $"http://p:{id}" } };
        return members.Apply(new ConfChange([step], ConfChangeTransition.Auto, default), new MembershipContext(1, member) { LearnersMax = max });
    }
}
