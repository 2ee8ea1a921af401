namespace Kapell.Machinery;

/// <summary>Group, version and kind of an object. The core group is the empty string.</summary>
public readonly record struct GroupVersionKind(string Group, string Version, string Kind)
{
    /// <summary><c>v1</c> or <c>apps/v1</c>.</summary>
    public string ApiVersion => Group.Length == 0 ? Version : Group + "/" + Version;

    public GroupKind GroupKind => new(Group, Kind);

    /// <summary>From an object's own two fields; no text is refused, for a kind nobody knows is found nowhere.</summary>
    public static GroupVersionKind Of(string apiVersion, string kind)
    {
        int slash = apiVersion.IndexOf('/', StringComparison.Ordinal);
        return slash < 0 ? new GroupVersionKind("", apiVersion, kind) : new GroupVersionKind(apiVersion[..slash], apiVersion[(slash + 1)..], kind);
    }

    public override string ToString() => $"{ApiVersion}, Kind={Kind}";
}

/// <summary>Group and kind, as <c>Status</c> details name them.</summary>
public readonly record struct GroupKind(string Group, string Kind)
{
    /// <summary>Upstream's text: <c>Pod</c> or <c>Deployment.apps</c>.</summary>
    public override string ToString() => Group.Length == 0 ? Kind : Kind + "." + Group;
}

/// <summary>Group, version and plural name of a resource, as it stands in a URL.</summary>
public readonly record struct GroupVersionResource(string Group, string Version, string Resource)
{
    public string ApiVersion => Group.Length == 0 ? Version : Group + "/" + Version;

    public GroupResource GroupResource => new(Group, Resource);

    /// <summary><c>/api/v1</c> or <c>/apis/apps/v1</c>.</summary>
    public string BasePath => Group.Length == 0 ? "/api/" + Version : "/apis/" + Group + "/" + Version;

    public override string ToString() => $"{ApiVersion}, Resource={Resource}";
}

/// <summary>Group and plural name.</summary>
public readonly record struct GroupResource(string Group, string Resource)
{
    /// <summary>Upstream's text: <c>pods</c> or <c>deployments.apps</c>.</summary>
    public override string ToString() => Group.Length == 0 ? Resource : Resource + "." + Group;
}

/// <summary>Namespace (empty for cluster-scoped objects) and name.</summary>
public readonly record struct ObjectKey(string Namespace, string Name)
{
    public override string ToString() => Namespace.Length == 0 ? Name : Namespace + "/" + Name;
}
