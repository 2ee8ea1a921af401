using Grpc.Core;

namespace Kapell.Etcd.Server.Replication;

/// <summary>
/// The refusals of the protocol: code and text are what clients compare, so they are upstream's (api/v3rpc/rpctypes/error.go).
/// An expected outcome is returned as one of these; <see cref="ToException"/> is for the edge.
/// </summary>
public sealed class EtcdError(StatusCode code, string text)
{
    public static readonly EtcdError EmptyKey = new(StatusCode.InvalidArgument, "etcdserver: key is not provided");
    public static readonly EtcdError KeyNotFound = new(StatusCode.InvalidArgument, "etcdserver: key not found");
    public static readonly EtcdError ValueProvided = new(StatusCode.InvalidArgument, "etcdserver: value is provided");
    public static readonly EtcdError LeaseProvided = new(StatusCode.InvalidArgument, "etcdserver: lease is provided");
    public static readonly EtcdError TooManyOps = new(StatusCode.InvalidArgument, "etcdserver: too many operations in txn request");
    public static readonly EtcdError DuplicateKey = new(StatusCode.InvalidArgument, "etcdserver: duplicate key given in txn request");
    public static readonly EtcdError InvalidSortOption = new(StatusCode.InvalidArgument, "etcdserver: invalid sort option");
    public static readonly EtcdError Compacted = new(StatusCode.OutOfRange, "etcdserver: mvcc: required revision has been compacted");
    public static readonly EtcdError FutureRevision =
        new(StatusCode.OutOfRange, "etcdserver: mvcc: required revision is a future revision");
    public static readonly EtcdError NoSpace = new(StatusCode.ResourceExhausted, "etcdserver: mvcc: database space exceeded");
    public static readonly EtcdError LeaseNotFound = new(StatusCode.NotFound, "etcdserver: requested lease not found");
    public static readonly EtcdError LeaseExists = new(StatusCode.FailedPrecondition, "etcdserver: lease already exists");
    public static readonly EtcdError LeaseTtlTooLarge = new(StatusCode.OutOfRange, "etcdserver: too large lease TTL");
    public static readonly EtcdError WatchCanceled = new(StatusCode.Cancelled, "etcdserver: watch canceled");
    public static readonly EtcdError MemberNotFound = new(StatusCode.NotFound, "etcdserver: member not found");
    public static readonly EtcdError MemberExists = new(StatusCode.FailedPrecondition, "etcdserver: member ID already exist");
    public static readonly EtcdError PeerUrlExists = new(StatusCode.FailedPrecondition, "etcdserver: Peer URLs already exists");
    public static readonly EtcdError MemberNotEnoughStarted =
        new(StatusCode.FailedPrecondition, "etcdserver: re-configuration failed due to not enough started members");
    public static readonly EtcdError MemberBadUrls = new(StatusCode.InvalidArgument, "etcdserver: given member URLs are invalid");
    public static readonly EtcdError MemberNotLearner =
        new(StatusCode.FailedPrecondition, "etcdserver: can only promote a learner member");
    public static readonly EtcdError LearnerNotReady = new(
        StatusCode.FailedPrecondition, "etcdserver: can only promote a learner member which is in sync with leader");
    public static readonly EtcdError TooManyLearners =
        new(StatusCode.FailedPrecondition, "etcdserver: too many learner members in cluster");
    private static readonly EtcdError NotSupportedForLearnerTo35 = new(StatusCode.Unavailable, "etcdserver: rpc not supported for learner");
    private static readonly EtcdError NotSupportedForLearnerFrom36 = new(StatusCode.FailedPrecondition, NotSupportedForLearnerTo35.Text);
    public static readonly EtcdError Unhealthy = new(StatusCode.Unavailable, "etcdserver: unhealthy cluster");
    public static readonly EtcdError TimeoutDueToLeaderFail =
        new(StatusCode.Unavailable, "etcdserver: request timed out, possibly due to previous leader failure");
    public static readonly EtcdError TimeoutLeaderTransfer =
        new(StatusCode.Unavailable, "etcdserver: request timed out, leader transfer took too long");
    public static readonly EtcdError RequestTooLarge = new(StatusCode.InvalidArgument, "etcdserver: request is too large");
    public static readonly EtcdError TooManyRequests = new(StatusCode.ResourceExhausted, "etcdserver: too many requests");
    public static readonly EtcdError RootUserNotExist = new(StatusCode.FailedPrecondition, "etcdserver: root user does not exist");
    public static readonly EtcdError RootRoleNotExist =
        new(StatusCode.FailedPrecondition, "etcdserver: root user does not have root role");
    public static readonly EtcdError UserExists = new(StatusCode.FailedPrecondition, "etcdserver: user name already exists");
    public static readonly EtcdError UserEmpty = new(StatusCode.InvalidArgument, "etcdserver: user name is empty");
    public static readonly EtcdError RoleExists = new(StatusCode.FailedPrecondition, "etcdserver: role name already exists");
    public static readonly EtcdError RoleEmpty = new(StatusCode.InvalidArgument, "etcdserver: role name is empty");
    public static readonly EtcdError AuthFailed =
        new(StatusCode.InvalidArgument, "etcdserver: authentication failed, invalid user ID or password");

    // etcd: this one is in no table of texts, so that its own name for it comes through.
    public static readonly EtcdError NoPasswordUser =
        new(StatusCode.Unknown, "auth: authentication failed, password was given for no password user");
    public static readonly EtcdError VerifyOnly = new(StatusCode.Unknown, "auth: token signing attempted with verify-only key");
    public static readonly EtcdError PermissionNotGiven = new(StatusCode.InvalidArgument, "etcdserver: permission not given");
    public static readonly EtcdError PermissionDenied = new(StatusCode.PermissionDenied, "etcdserver: permission denied");
    public static readonly EtcdError RoleNotGranted = new(StatusCode.FailedPrecondition, "etcdserver: role is not granted to the user");
    public static readonly EtcdError PermissionNotGranted =
        new(StatusCode.FailedPrecondition, "etcdserver: permission is not granted to the role");
    public static readonly EtcdError InvalidAuthToken = new(StatusCode.Unauthenticated, "etcdserver: invalid auth token");
    public static readonly EtcdError InvalidAuthManagement = new(StatusCode.InvalidArgument, "etcdserver: invalid auth management");
    public static readonly EtcdError AuthOldRevision = new(StatusCode.InvalidArgument, "etcdserver: revision of auth store is old");
    public static readonly EtcdError AuthNotEnabled =
        new(StatusCode.FailedPrecondition, "etcdserver: authentication is not enabled");
    public static readonly EtcdError UserNotFound = new(StatusCode.FailedPrecondition, "etcdserver: user name not found");
    public static readonly EtcdError RoleNotFound = new(StatusCode.FailedPrecondition, "etcdserver: role name not found");
    public static readonly EtcdError NoLeader = new(StatusCode.Unavailable, "etcdserver: no leader");
    public static readonly EtcdError NotLeader = new(StatusCode.FailedPrecondition, "etcdserver: not leader");
    public static readonly EtcdError LeaderChanged = new(StatusCode.Unavailable, "etcdserver: leader changed");
    public static readonly EtcdError Stopped = new(StatusCode.Unavailable, "etcdserver: server stopped");
    public static readonly EtcdError Timeout = new(StatusCode.Unavailable, "etcdserver: request timed out");
    public static readonly EtcdError Corrupt = new(StatusCode.DataLoss, "etcdserver: corrupt cluster");
    public static readonly EtcdError RangeStreamSorts = new(StatusCode.Unimplemented, "RangeStream does not support custom sort orders");
    public static readonly EtcdError RangeStreamFilters = new(StatusCode.Unimplemented, "RangeStream does not support revision filters");
    public static readonly EtcdError BadDowngradeVersion = new(StatusCode.InvalidArgument, "etcdserver: wrong downgrade target version format");
    public static readonly EtcdError BadDowngradeTarget = new(StatusCode.InvalidArgument, "etcdserver: invalid downgrade target version");
    public static readonly EtcdError NoDowngrade = new(StatusCode.FailedPrecondition, "etcdserver: no inflight downgrade job");
    public static readonly EtcdError BadLeaderTransferee = new(StatusCode.FailedPrecondition, "etcdserver: bad leader transferee");

    /// <summary>What a status lists for an active alarm or a missing leader.</summary>
    public static readonly string NoLeaderText = "etcdserver: no leader";

    /// <summary>Ours: etcd writes what it can hold in memory.</summary>
    public static EtcdError ReplyTooLarge(int bytesMax, string outcome = "") => new(
        StatusCode.ResourceExhausted, $"etcdserver: response is too large: over {bytesMax} bytes{outcome}");

    /// <summary>
    /// etcd changed the code of this refusal in 3.6, and a client asks the next member only when told the code that its own version knows.
    /// </summary>
    /// <param name="clientVersion">What the client says of itself (client-api-version), such as "3.6.1"; who says nothing is of the time before.</param>
    public static EtcdError NotSupportedForLearner(string? clientVersion) =>
        clientVersion?.Split('.', 3) is [string major, string minor, ..] && int.TryParse(major, out int a) && int.TryParse(minor, out int b) && (a, b).CompareTo((3, 6)) >= 0
            ? NotSupportedForLearnerFrom36
            : NotSupportedForLearnerTo35;

    public static EtcdError TooFewVoters(ulong leaving, int left, int min) => new(
        StatusCode.FailedPrecondition,
        $"etcdserver: re-configuration failed: without member {leaving:x} there are {left} voting members, fewer than --min-voters={min}; add and promote another one first");

    public StatusCode Code { get; } = code;

    public string Text { get; } = text;

    /// <summary>A refusal that another member sent as its text; one that we do not know says that the other side is not available.</summary>
    public static EtcdError FromText(string text)
    {
        EtcdError[] known =
            [NotLeader, NoLeader, Timeout, Stopped, TooManyRequests, MemberNotFound, MemberNotLearner, LearnerNotReady, TooManyLearners, LeaderChanged];
        return known.FirstOrDefault(e => e.Text == text) ?? new EtcdError(StatusCode.Unavailable, text.Length > 0 ? text : Timeout.Text);
    }

    public RpcException ToException() => new(new Status(Code, Text));

    public override string ToString() => Text;
}
