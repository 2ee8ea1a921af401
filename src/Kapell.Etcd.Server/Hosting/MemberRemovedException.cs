namespace Kapell.Etcd.Server.Hosting;

/// <summary>The cluster has put this member out: it stops, and that is no failure.</summary>
public sealed class MemberRemovedException()
    : Exception("the member has been permanently removed from the cluster; the data-dir used by this member must be removed");
