using Google.Protobuf;
using Kapell.Base;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Hosting;
using Kapell.Etcd.Server.Replication;

namespace Kapell.Etcd.Server.Peers;

/// <summary>
/// Finds out, for a directory that holds no member yet, who the new member is: one of the founders of a new cluster, or one that a
/// running cluster has been told of (member add). etcd: server/etcdserver/bootstrap.go
/// </summary>
internal static class ClusterJoin
{
    // etcd: server/etcdserver/cluster_util.go. One that is not there is found out by connecting; one that is slow may have much to do.
    private static readonly TimeSpan AskTimeout = TimeSpan.FromSeconds(10);

    // Founders mostly start together, and behind something that takes connections for them nobody may be there yet.
    private static readonly TimeSpan FounderTimeout = TimeSpan.FromSeconds(4);

    /// <summary>The founders, numbered as every one of them numbers them.</summary>
    public static Founding New(EtcdOptions options)
    {
        Member[] members = [.. options.InitialCluster.GroupBy(static m => m.Name, static m => m.Url).Select(group =>
        {
            Member member = new() { Name = group.Key, ID = ClusterIdentity.MemberId(group, options.ClusterToken) };
            member.PeerURLs.AddRange(group.Order(StringComparer.Ordinal));
            return member;
        })];
        return new Founding(
            ClusterIdentity.ClusterId(members.Select(static m => m.ID)), members.Single(m => m.Name == options.Name).ID,
            [.. members.OrderBy(static m => m.ID)]);
    }

    /// <summary>
    /// A founder whose directory is empty although the cluster knows it as one that ran has lost its data: it must not vote again as if it
    /// had never voted. It is refused; remove it from the cluster and add it anew.
    /// </summary>
    /// <exception cref="InvalidDataException">The cluster is there already and has seen this member.</exception>
    public static async Task RefuseSecondLifeAsync(EtcdOptions options, Founding founding, HttpClient client, CancellationToken cancellation)
    {
        IEnumerable<Task<ClusterView?>> asked = OthersUrls(options).Select(url => AskAsync(url, client, FounderTimeout, cancellation));
        foreach (ClusterView view in (await Task.WhenAll(asked)).OfType<ClusterView>())
        {
            if (view.ClusterId != founding.ClusterId)
            {
                throw new InvalidDataException(
                    $"a member named in --initial-cluster belongs to cluster {view.ClusterId:x}, but these settings found cluster {founding.ClusterId:x}: "
                    + "check --initial-cluster and --initial-cluster-token, or start with --initial-cluster-state=existing to join it");
            }

            if (view.Members.FirstOrDefault(m => m.ID == founding.MemberId) is { ClientURLs.Count: > 0 })
            {
                throw new InvalidDataException(
                    $"member {founding.MemberId:x} has already been bootstrapped, and its data in {options.DataDirectory} is gone: "
                    + $"on a healthy member run `etcdctl member remove {founding.MemberId:x}` and `etcdctl member add`, "
                    + "then start this one with --initial-cluster-state=existing");
            }

            if (view.RemovedMembers.Contains(founding.MemberId))
            {
                throw new InvalidDataException($"member {founding.MemberId:x} has been permanently removed from the cluster; add it anew with `etcdctl member add`");
            }
        }
    }

    /// <summary>Asks the running members who we are: the one whose peer addresses are ours.</summary>
    /// <exception cref="InvalidDataException">No member answers, or none of the cluster's members is this one.</exception>
    public static async Task<Founding> ExistingAsync(EtcdOptions options, HttpClient client, CancellationToken cancellation)
    {
        string[] urls = [.. OthersUrls(options)];
        ClusterView view = (await Task.WhenAll(urls.Select(url => AskAsync(url, client, AskTimeout, cancellation)))).OfType<ClusterView>().FirstOrDefault()
            ?? throw new InvalidDataException(
                $"cannot fetch cluster info from peer urls: none of {string.Join(", ", urls)} answers; start the other members first");
        HashSet<string> own = [.. options.InitialAdvertisePeerUrls];
        Member self = view.Members.FirstOrDefault(m => own.SetEquals(m.PeerURLs))
            ?? throw new InvalidDataException(
                $"no member of cluster {view.ClusterId:x} has the peer addresses {string.Join(", ", own)}: run `etcdctl member add {options.Name} "
                + $"--peer-urls={string.Join(',', own)}` first");
        if (self.Name.Length > 0 && self.ClientURLs.Count > 0)
        {
            throw new InvalidDataException(
                $"member {self.ID:x} ran before and its data in {options.DataDirectory} is gone: remove it from the cluster and add it anew");
        }

        return new Founding(view.ClusterId, self.ID, []);
    }

    private static IEnumerable<string> OthersUrls(EtcdOptions options) =>
        options.InitialCluster.Where(m => m.Name != options.Name).Select(static m => m.Url).Distinct();

    private static async Task<ClusterView?> AskAsync(string url, HttpClient client, TimeSpan patience, CancellationToken cancellation)
    {
        using CancellationTokenSource timeout = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        timeout.CancelAfter(patience);
        try
        {
            using HttpRequestMessage request = PeerAddress.Request(HttpMethod.Get, url, PeerProtocol.ViewPath);
            using HttpResponseMessage response = (await client.SendAsync(request, timeout.Token)).EnsureSuccessStatusCode();
            return ClusterView.Parser.ParseFrom(await response.Content.ReadAsByteArrayAsync(timeout.Token));
        }
        catch (Exception e) when (e is HttpRequestException or InvalidProtocolBufferException
            || (e is OperationCanceledException && !cancellation.IsCancellationRequested))
        {
            // Not there (yet): the others decide.
            return null;
        }
    }
}

/// <summary>One <c>name=url</c> of --initial-cluster.</summary>
internal readonly record struct InitialMember(string Name, string Url);
