using Kapell.Mvcc;
using Xunit;

namespace Kapell.Etcd.Tests.Mvcc;

public sealed class LeaseTableTests
{
    [Fact]
    public void Only_who_leads_lets_leases_expire()
    {
        LeaseTable leases = new();
        leases.Grant(1, 5, now: 0);
        Assert.Empty(Expired(leases, 1_000_000));
        leases.Promote(now: 2000);
        Assert.Empty(Expired(leases, 6999));
        Assert.Equal([1], Expired(leases, 7000));
        leases.Demote();
        Assert.Empty(Expired(leases, 1_000_000));
    }

    [Fact]
    public void Who_begins_to_lead_gives_every_lease_its_whole_time()
    {
        LeaseTable leases = new();
        leases.Promote(0);
        leases.Grant(1, 5, now: 0);
        leases.Demote();
        leases.Promote(now: 4000);
        Assert.Empty(Expired(leases, 8999));
        Assert.Equal([1], Expired(leases, 9000));
        leases.Demote();
        leases.Promote(now: 10_000, grace: 1000);
        Assert.True(leases.TryGetTimes(1, 10_000, out _, out long remaining));
        Assert.Equal(5, remaining);
        Assert.Empty(Expired(leases, 15_999));
        Assert.Equal([1], Expired(leases, 16_000));
    }

    [Fact]
    public void What_was_told_of_the_time_left_is_what_the_next_leader_gives()
    {
        const long minute = 60_000;
        LeaseTable leases = new();
        leases.Promote(0);
        leases.Grant(1, 3600, now: 0);
        leases.Grant(2, 60, now: 0);
        List<(long Id, long Remaining)> told = [];
        leases.CollectToRemember(5 * minute, 100, told);
        Assert.Equal([(1L, 3300L)], told);
        Assert.Equal((1L, 3000L), Again(leases, 10 * minute));
        leases.Remember(1, 3000);
        leases.Remember(99, 5);
        Assert.Equal([(1L, 3000L)], leases.Remembered());
        leases.Demote();
        leases.Promote(now: 11 * minute);
        Assert.True(leases.TryGetTimes(1, 11 * minute, out long granted, out long remaining));
        Assert.Equal((3600, 3000), (granted, remaining));

        // A renewal gives the whole time, and the others are told that too.
        Assert.Equal(3600, leases.Renew(1, 12 * minute));
        Assert.True(leases.IsRemembered(1));
        leases.Remember(1, 0);
        Assert.Empty(leases.Remembered());
    }

    private static (long Id, long Remaining) Again(LeaseTable leases, long now)
    {
        List<(long Id, long Remaining)> told = [];
        leases.CollectToRemember(now, 100, told);
        return Assert.Single(told);
    }

    [Fact]
    public void Renewed_it_lives_on_from_then()
    {
        LeaseTable leases = new();
        leases.Promote(0);
        leases.Grant(1, 5, 0);
        Assert.Equal(5, leases.Renew(1, 4000));
        Assert.Empty(Expired(leases, 5000));
        Assert.Empty(Expired(leases, 8999));
        Assert.Equal([1], Expired(leases, 9000));
        Assert.Equal(-1, leases.Renew(1, 9000));
        Assert.Equal(-1, leases.Renew(2, 9000));
    }

    [Fact]
    public void Asked_to_be_revoked_and_not_yet_gone_it_comes_again_after_a_while()
    {
        LeaseTable leases = new();
        leases.Promote(0);
        leases.Grant(1, 5, 0);
        Assert.Equal([1], Expired(leases, 5000));
        Assert.Empty(Expired(leases, 7999));
        Assert.Equal([1], Expired(leases, 8000));
    }

    [Fact]
    public void They_come_earliest_first_and_no_more_than_asked_for()
    {
        LeaseTable leases = new();
        leases.Promote(0);
        leases.Grant(1, 30, 0);
        leases.Grant(2, 10, 0);
        leases.Grant(3, 20, 0);
        List<long> expired = [];
        leases.CollectExpired(60_000, 2, expired);
        Assert.Equal([2, 3], expired);
    }

    [Fact]
    public void What_is_left_is_told_in_whole_seconds()
    {
        LeaseTable leases = new();
        Assert.False(leases.TryGetTimes(1, 0, out long granted, out long left));
        Assert.Equal((0, -1), (granted, left));
        leases.Grant(1, 5, 0);
        Assert.True(leases.TryGetTimes(1, 1_000_000, out granted, out left));
        Assert.Equal((5, 5), (granted, left));
        leases.Promote(0);
        leases.TryGetTimes(1, 1001, out _, out left);
        Assert.Equal(3, left);
        leases.TryGetTimes(1, 99_000, out _, out left);
        Assert.Equal(0, left);
        Assert.False(leases.Grant(1, 9, 0));
    }

    private static List<long> Expired(LeaseTable leases, long now)
    {
        List<long> expired = [];
        leases.CollectExpired(now, 100, expired);
        return expired;
    }
}
