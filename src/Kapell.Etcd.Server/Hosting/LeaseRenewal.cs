using Kapell.Etcd.Server.Replication;
using Kapell.Raft;

namespace Kapell.Etcd.Server.Hosting;

/// <summary>How the renewal of leases went.</summary>
/// <param name="Error">This member does not lead, or is stopping; null when they were renewed or are not there.</param>
/// <param name="Ttls">Of each lease, in the order that was asked for: seconds; 0 when there is no such lease.</param>
/// <param name="Proven">That this member led a moment ago is certain; see <see cref="Replica.RenewLease"/>.</param>
internal readonly record struct LeaseRenewal(EtcdError? Error, long[] Ttls, bool Proven, Term Term, long Revision)
{
    public static LeaseRenewal Refused(EtcdError error) => new(error, [], false, default, 0);
}
