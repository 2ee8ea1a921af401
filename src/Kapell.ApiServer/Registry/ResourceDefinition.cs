using System.Text.Json;
using System.Text.Json.Nodes;
using Kapell.Machinery;

namespace Kapell.ApiServer.Registry;

/// <summary>How a name may be spelled (apimachinery validation).</summary>
public enum NameRule
{
    /// <summary>RFC 1123 subdomain, at most 253 characters: most resources.</summary>
    Dns1123Subdomain,

    /// <summary>RFC 1123 label, at most 63 characters: namespaces.</summary>
    Dns1123Label,

    /// <summary>RFC 1035 label: services.</summary>
    Dns1035Label,

    /// <summary>Anything that can stand as one path segment: RBAC objects.</summary>
    PathSegment,
}

/// <summary>One column of a server-side Table (metav1.TableColumnDefinition). Priority 0 is always shown, above only with <c>-o wide</c>.</summary>
public sealed record PrinterColumn(string Name, string Type, string Description, int Priority = 0, string Format = "");

/// <summary>What a strategy may know of the request it serves.</summary>
/// <param name="Namespace">Empty for cluster-scoped resources.</param>
/// <param name="UserName">Who asks.</param>
/// <param name="Now">The server's time, one reading for the whole request.</param>
public sealed record RequestFacts(string Namespace, string UserName, DateTimeOffset Now);

/// <summary>
/// Everything the generic registry needs to know about one resource, as data and pure functions over JSON objects. Adding a
/// resource is adding one of these to <see cref="BuiltinResources"/>; nothing else in the server names a kind. Order on create:
/// strict decoding by <see cref="SchemaName"/>, <see cref="Default"/>, metadata filling, <see cref="PrepareForCreate"/>, admission,
/// <see cref="Validate"/> (with the generic metadata validation), storage. On update the same with <see cref="PrepareForUpdate"/>
/// and <see cref="ValidateUpdate"/>. The functions get objects whose field types already match the schema; they may change the
/// object they are given and never keep it.
/// </summary>
public sealed record ResourceDefinition
{
    /// <summary>Empty for the core group.</summary>
    public required string Group { get; init; }

    public required string Version { get; init; }

    public required string Kind { get; init; }

    public required string Plural { get; init; }

    public required string Singular { get; init; }

    public IReadOnlyList<string> ShortNames { get; init; } = [];

    public IReadOnlyList<string> Categories { get; init; } = [];

    public required bool Namespaced { get; init; }

    public IReadOnlyList<string> Verbs { get; init; } =
        ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

    /// <summary>Name of the type in the embedded schema: <c>io.k8s.api.core.v1.Pod</c>.</summary>
    public required string SchemaName { get; init; }

    /// <summary>Below <c>/registry/</c>, as upstream: <c>pods</c>, <c>services/specs</c>, <c>minions</c>.</summary>
    public required string StorageKey { get; init; }

    public NameRule NameRule { get; init; } = NameRule.Dns1123Subdomain;

    /// <summary>Life in the store from each write on (events: one hour); null for ever.</summary>
    public TimeSpan? TimeToLive { get; init; }

    /// <summary>Fills absent fields with upstream's defaults. Idempotent; also run on objects read for a patch.</summary>
    public Action<JsonObject>? Default { get; init; }

    /// <summary>Clears what a creator may not set (status), sets <c>metadata.generation</c> to 1 where the kind has one.</summary>
    public Action<JsonObject, RequestFacts>? PrepareForCreate { get; init; }

    /// <summary>(new, old): keeps what this request may not change (status) and raises the generation when the spec changed.</summary>
    public Action<JsonObject, JsonObject, RequestFacts>? PrepareForUpdate { get; init; }

    public Func<JsonObject, List<FieldError>>? Validate { get; init; }

    /// <summary>What only a new object is asked for; runs after <see cref="Validate"/>.</summary>
    public Func<JsonObject, List<FieldError>>? ValidateCreate { get; init; }

    /// <summary>(new, old): immutability and transition rules; runs after <see cref="Validate"/>.</summary>
    public Func<JsonObject, JsonObject, List<FieldError>>? ValidateUpdate { get; init; }

    /// <summary>Non-fatal advice sent as <c>Warning: 299</c> headers.</summary>
    public Func<JsonObject, List<string>>? Warnings { get; init; }

    /// <summary>PUT on a name that does not exist creates it (upstream: AllowCreateOnUpdate; leases, endpoints, events, RBAC).</summary>
    public bool CreateOnUpdate { get; init; }

    /// <summary>An update without resourceVersion is accepted (upstream: AllowUnconditionalUpdate).</summary>
    public bool UnconditionalUpdate { get; init; } = true;

    /// <summary>(object, seconds asked for or null) to seconds of grace before the object may vanish; null: the kind knows no grace (upstream: CheckGracefulDelete).</summary>
    public Func<JsonObject, long?, long>? GracePeriodSeconds { get; init; }

    /// <summary>Changes the object when it is marked for deletion (a namespace's phase).</summary>
    public Action<JsonObject>? PrepareForDelete { get; init; }

    /// <summary>True while the object has to stay for a reason beside <c>metadata.finalizers</c> (a namespace's <c>spec.finalizers</c>).</summary>
    public Func<JsonObject, bool>? HoldsDeletion { get; init; }

    /// <summary>A delete that removes at once answers with the object instead of a Status (upstream: ReturnDeletedObject).</summary>
    public bool ReturnDeletedObject { get; init; }

    /// <summary>Default propagation of a delete that names none is Background, except where upstream says Orphan (none of today's kinds).</summary>
    public IReadOnlyList<SubresourceDefinition> Subresources { get; init; } = [];

    /// <summary>Field selectors beside metadata.name and metadata.namespace: name to value ("" when absent).</summary>
    public IReadOnlyDictionary<string, Func<JsonElement, string>> SelectableFields { get; init; } =
        new Dictionary<string, Func<JsonElement, string>>();

    /// <summary>
    /// What a selector by any other field is answered (upstream: AddFieldLabelConversionFunc of the kind); null: the words for kinds
    /// that know no fields beside name and namespace.
    /// </summary>
    public Func<string, string>? UnknownField { get; init; }

    /// <summary>Columns of <c>kubectl get</c>; null means Name and Age.</summary>
    public IReadOnlyList<PrinterColumn>? Columns { get; init; }

    /// <summary>(object, now) to one cell per column: string, long or null.</summary>
    public Func<JsonElement, DateTimeOffset, object?[]>? Row { get; init; }

    /// <summary>For a second API group over the same stored objects (events.k8s.io over events): stored form to this version, and back.</summary>
    public Action<JsonObject>? FromStorage { get; init; }

    public Action<JsonObject>? ToStorage { get; init; }

    public GroupVersionKind GroupVersionKind => new(Group, Version, Kind);

    public GroupVersionResource GroupVersionResource => new(Group, Version, Plural);

    public GroupResource GroupResource => new(Group, Plural);
}

/// <summary>
/// A subresource that reads and writes part of the same stored object (<c>status</c>, <c>scale</c>). Those that do something else
/// (binding, eviction, log, exec, token) are endpoints of their own in Http; here they only appear in discovery.
/// </summary>
public sealed record SubresourceDefinition
{
    public required string Name { get; init; }

    public required GroupVersionKind Kind { get; init; }

    public required IReadOnlyList<string> Verbs { get; init; }

    /// <summary>(new, old): keeps everything but the part this subresource owns.</summary>
    public Action<JsonObject, JsonObject, RequestFacts>? PrepareForUpdate { get; init; }

    public Func<JsonObject, JsonObject, List<FieldError>>? ValidateUpdate { get; init; }

    /// <summary>For a subresource with a kind of its own (Scale): parent to this view, or null when the subresource is the parent itself.</summary>
    public Func<JsonObject, JsonObject>? View { get; init; }

    /// <summary>Validates the changed view; its errors are about <see cref="Kind"/>, not about the parent.</summary>
    public Func<JsonObject, List<FieldError>>? ValidateView { get; init; }

    /// <summary>(parent, view): writes the changed view back into the parent.</summary>
    public Action<JsonObject, JsonObject>? Merge { get; init; }
}
