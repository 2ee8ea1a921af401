using Kapell.Controllers.Deployments;
using Xunit;

namespace Kapell.Kube.Tests.Controllers;

public sealed class RolloutMathTests
{
    [Theory]
    [InlineData(3, 1, 0, 0, 3, 1)] // three old ones run: one more than wanted is allowed
    [InlineData(3, 1, 0, 1, 4, 1)] // the surge is used up
    [InlineData(3, 1, 0, 1, 3, 2)]
    [InlineData(10, 3, 2, 0, 0, 10)] // nothing old: all at once
    public void The_new_set_grows_into_the_surge(long replicas, long surge, long unavailable, long fresh, long all, long expected) =>
        Assert.Equal(expected, RolloutMath.NewReplicas(new RolloutBounds(replicas, surge, unavailable), recreate: false, fresh, all));

    [Fact]
    public void Working_old_pods_go_only_as_new_ones_become_available()
    {
        RolloutBounds bounds = new(3, 1, 0);
        Assert.Empty(RolloutMath.ScaleDownOld(bounds, [Set("old", 3, 3)], Set("new", 1, 0)));
        Assert.Equal([("old", 2)], RolloutMath.ScaleDownOld(bounds, [Set("old", 3, 3)], Set("new", 1, 1)));
    }

    [Fact]
    public void Old_pods_that_do_not_work_go_first()
    {
        RolloutBounds bounds = new(3, 1, 1);
        Assert.Equal([("broken", 0)], RolloutMath.ScaleDownOld(bounds, [Set("good", 1, 1), Set("broken", 2, 0, day: 2)], Set("new", 1, 1)));
    }

    [Fact]
    public void Scaling_in_the_middle_of_a_rollout_is_proportional()
    {
        // 10 wanted, surge 3, 8 old and 5 new; scaled up to 15: 18 may be there, 5 more, in proportion 8 to 5.
        RolloutBounds bounds = new(15, 3, 2);
        List<(string, long)> sizes = RolloutMath.Proportional(bounds, [Set("old", 8, 8, max: 13), Set("new", 5, 0, day: 2, max: 13)], 13);
        Assert.Equal([("old", 11), ("new", 7)], sizes);
    }

    [Fact]
    public void Scaling_to_zero_takes_every_set_to_zero()
    {
        List<(string Name, long Replicas)> sizes = RolloutMath.Proportional(new RolloutBounds(0, 0, 0), [Set("a", 3, 3, max: 4), Set("b", 1, 1, max: 4)], 4);
        Assert.All(sizes, s => Assert.Equal(0, s.Replicas));
    }

    [Fact]
    public void The_template_hash_ignores_the_order_of_names_and_the_hash_label()
    {
        string a = Hash("""{"metadata":{"labels":{"app":"web","pod-template-hash":"x"}},"spec":{"containers":[{"name":"c","image":"i"}]}}""");
        string b = Hash("""{"spec":{"containers":[{"image":"i","name":"c"}]},"metadata":{"creationTimestamp":null,"labels":{"app":"web"}}}""");
        string c = Hash("""{"spec":{"containers":[{"image":"j","name":"c"}]},"metadata":{"labels":{"app":"web"}}}""");
        Assert.Equal(a, b);
        Assert.NotEqual(a, c);
        Assert.Matches("^[bcdfghjklmnpqrstvwxz2456789]+$", a);
    }

    private static string Hash(string template) =>
        Kapell.Controllers.Shared.TemplateHash.Of(Revisions.WithoutHash(Doc.Of(template).Root), null);

    private static SetSize Set(string name, long replicas, long available, int day = 1, long max = 0) =>
        new(name, replicas, available, new DateTimeOffset(2026, 1, day, 0, 0, 0, TimeSpan.Zero), max);
}
