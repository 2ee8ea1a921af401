using Kapell.ApiServer.Admission;
using Kapell.ApiServer.Authorization;
using Kapell.ApiServer.Http;
using Kapell.ApiServer.Registry;
using Kapell.ApiServer.ServiceAllocation;
using Kapell.ApiServer.Subresources;
using Kapell.Base;
using Kapell.Machinery;

namespace Kapell.ApiServer.Authentication;

/// <summary>Puts authentication, authorization, admission, service allocation and the endpoint subresources into one server.</summary>
public static class SecurityComposition
{
    /// <param name="certificates">Knows client certificates; stands before the tokens.</param>
    public static void AddTo(ServerParts parts, ServerContext context, IAuthenticator certificates)
    {
        Prng random = new(context.Seed);
        RbacIndex index = new();
        NodeGraph graph = new();
        Mirrors mirrors = new(context, parts);
        mirrors.Feed("rbac.authorization.k8s.io", ["roles", "rolebindings", "clusterroles", "clusterrolebindings"], index.Set, index.Remove);
        mirrors.Feed("", ["pods"], (_, pod) => graph.Set(pod), (_, key) => graph.Remove(key));
        IAccessRule access = AccessOf(context.Options.AuthorizationModes, index, graph);
        StoreLookup objects = new(context.Resources, context.Store, mirrors.All);
        ServiceAccountTokens tokens = TokensOf(context.Options, objects, context.Time);
        BearerTokens bearer = new(
            tokens,
            context.Options.EnableBootstrapTokenAuth ? new BootstrapTokens(objects, context.Time) : null,
            context.Options.TokenAuthFile.Length > 0 ? new StaticTokens(File.ReadLines(context.Options.TokenAuthFile)) : null,
            context.Time);
        parts.Authenticators.Add(new ImpersonatingAuthenticator([certificates, new TokenAuthenticator(bearer)], access));
        parts.Authenticators.Add(new NoCredentialsAuthenticator(
            context.Options.AnonymousAuth, context.Options.AuthorizationModes.Contains("AlwaysAllow")));
        parts.Authorizers.Add(new RulesAuthorizer(access));
        AddReviews(parts, context, index, access, bearer);
        AddAdmission(parts, context, mirrors, objects, index, access, random);
        AddSubresources(parts, context, objects, tokens, access, random);
        AddBootstrap(parts, context, index, mirrors);
    }

    private static AccessRules AccessOf(IReadOnlyList<string> modes, RbacIndex index, NodeGraph graph) => new([.. modes.Select(mode => (IAccessRule)(mode switch
    {
        "RBAC" => new RbacRule(index),
        "Node" => new NodeRule(graph),
        "AlwaysAllow" => new AlwaysAllowRule(),
        "AlwaysDeny" => new AlwaysDenyRule(),
        _ => throw new FlagException($"--authorization-mode: {mode} is not supported; choose from Node, RBAC, AlwaysAllow, AlwaysDeny"),
    }))]);

    private static ServiceAccountTokens TokensOf(ServerOptions options, IObjectLookup objects, TimeProvider time)
    {
        ServiceAccountKeys keys = ServiceAccountKeys.Load(options.ServiceAccountKeyFiles, options.ServiceAccountSigningKeyFile);
        IReadOnlyList<string> audiences = options.ApiAudiences.Count > 0 ? options.ApiAudiences : options.ServiceAccountIssuers;
        return new ServiceAccountTokens(keys, options.ServiceAccountIssuers, audiences, objects, time);
    }

    private static void AddReviews(ServerParts parts, ServerContext context, RbacIndex index, IAccessRule access, BearerTokens bearer)
    {
        foreach (string kind in (string[])["SubjectAccessReview", "LocalSubjectAccessReview", "SelfSubjectAccessReview"])
        {
            parts.Subresources.Add(new AccessReviewEndpoint(kind, access));
        }

        parts.Subresources.Add(new RulesReviewEndpoint(index, !context.Options.AuthorizationModes.Contains("AlwaysAllow")));
        parts.Subresources.Add(new TokenReviewEndpoint(bearer));
        parts.Subresources.Add(new SelfReviewEndpoint(context.Time));
        if (bearer.Accounts.Keys.Verifying.Count > 0)
        {
            string host = context.Options.AdvertiseAddress.Length > 0 ? context.Options.AdvertiseAddress : "127.0.0.1";
            parts.Paths.AddRange(IssuerDiscoveryEndpoint.For(bearer.Accounts, $"{host}:{context.Options.SecurePort}"));
        }
    }

    private static void AddAdmission(
        ServerParts parts, ServerContext context, Mirrors mirrors, IObjectLookup objects, RbacIndex index, IAccessRule access, Prng random)
    {
        StoreMirror? classes = mirrors.Find("scheduling.k8s.io", "priorityclasses");
        ResourceDefinition? namespaces = context.Resources.Find("", "namespaces");
        bool rbac = context.Options.AuthorizationModes.Contains("RBAC");
        List<(string Name, IAdmission Plugin)> plugins =
        [
            ("NamespaceLifecycle", new NamespaceLifecycle(
                objects, (key, cancel) => namespaces is null ? Task.FromResult<KubeObject?>(null) : context.Store.GetAsync(namespaces, key, cancel),
                context.Time)),
            ("ServiceAccount", new ServiceAccountAdmission(objects, random.NextUInt64())),
            ("TaintNodesByCondition", new TaintNodesByCondition()),
            ("Priority", new PriorityAdmission(
                () => classes?.All ?? [], (key, cancel) => objects.FindAsync("scheduling.k8s.io", "priorityclasses", key, cancel))),
            ("DefaultTolerationSeconds", new DefaultTolerationSeconds()),
            ("RuntimeClass", new RuntimeClassAdmission((key, cancel) => objects.FindAsync("node.k8s.io", "runtimeclasses", key, cancel))),
        ];
        if (context.Options.EnableAdmissionPlugins.Contains("NodeRestriction"))
        {
            plugins.Add(("NodeRestriction", new NodeRestriction(objects)));
        }

        parts.Admission.AddRange(plugins.Where(p => !context.Options.DisableAdmissionPlugins.Contains(p.Name)).Select(p => p.Plugin));
        parts.Admission.Add(new RbacEscalation(index, access, rbac));
        if (context.Resources.Find("", "services") is { } services)
        {
            ServiceAllocator allocator = new(context.Store, services, context.Options, random.NextUInt64(), context.Time);
            mirrors.Feed("", ["services"], (_, service) => allocator.Releases.Seen(service), (_, key) => allocator.Releases.Gone(key));
            parts.Admission.Add(new ServiceAdmission(allocator));
            parts.PostStartHooks.Add(("start-service-ip-repair-controllers", cancel => allocator.RepairAsync([], cancel)));
            parts.Background.Add(("service-allocation-release", allocator.Releases.RunAsync));
            parts.Background.Add(("service-allocation-repair", allocator.RepairForEverAsync));
        }
    }

    private static void AddSubresources(
        ServerParts parts, ServerContext context, IObjectLookup objects, ServiceAccountTokens tokens, IAccessRule access, Prng random)
    {
        if (context.Resources.Find("", "serviceaccounts") is not null)
        {
            parts.Subresources.Add(new TokenRequestEndpoint(
                tokens, objects, context.Store, context.Resources, context.Options.ServiceAccountMaxTokenExpiration, context.Time));
        }

        if (context.Resources.Find("", "namespaces") is { } namespaces)
        {
            parts.Subresources.Add(new NamespaceFinalizeEndpoint(context.Store, namespaces));
        }

        if (context.Resources.Find("", "pods") is not { } pods || context.Resources.Find("", "nodes") is not { } nodes)
        {
            return;
        }

        KubeletTransport transport = new(context.Options);
        KubeletAccess kubelets = new(context.Store, pods, nodes, transport, new ProxyRequest(transport, context.Time));
        parts.Subresources.Add(new BindingEndpoint(context.Store, pods, isSubresource: true, context.Time));
        parts.Subresources.Add(new BindingEndpoint(context.Store, pods, isSubresource: false, context.Time));
        parts.Subresources.Add(new EvictionEndpoint(context.Store, pods, context.Resources.Find("policy", "poddisruptionbudgets"), context.Time));
        parts.Subresources.Add(new PodLogEndpoint(kubelets));
        parts.Subresources.Add(new PodTunnelEndpoint("exec", "PodExecOptions", kubelets, access));
        parts.Subresources.Add(new PodTunnelEndpoint("attach", "PodAttachOptions", kubelets, access));
        parts.Subresources.Add(new PodTunnelEndpoint("portforward", "PodPortForwardOptions", kubelets, access));
        foreach (string resource in (string[])["nodes", "pods", "services"])
        {
            parts.Subresources.Add(new ObjectProxyEndpoint(resource, kubelets, context.Resources, random.NextUInt64()));
        }
    }

    private static void AddBootstrap(ServerParts parts, ServerContext context, RbacIndex index, Mirrors mirrors)
    {
        if (mirrors.Find("rbac.authorization.k8s.io", "clusterroles") is { } clusterRoles)
        {
            parts.Background.Add(("clusterrole-aggregation", new AggregationLoop(index, context.Store, clusterRoles).RunAsync));
            parts.PostStartHooks.Add(("rbac/bootstrap-roles", new BootstrapReconciler(context.Store, context.Resources).RunAsync));
        }

        // Not ready before who may do what is known.
        parts.PostStartHooks.Add(("auth-mirrors-sync", cancel => Task.WhenAll(mirrors.All.Select(m => m.Synced)).WaitAsync(cancel)));
        if (context.Resources.Find("scheduling.k8s.io", "priorityclasses") is { } classes)
        {
            parts.PostStartHooks.Add(("scheduling/bootstrap-system-priority-classes", cancel => SystemPriorityClasses.WriteAsync(context.Store, classes, cancel)));
        }
    }

    /// <summary>The mirrors this room reads from, each started as background work.</summary>
    private sealed class Mirrors
    {
        private static readonly (string Group, string Resource)[] Wanted =
        [
            ("rbac.authorization.k8s.io", "roles"), ("rbac.authorization.k8s.io", "rolebindings"), ("rbac.authorization.k8s.io", "clusterroles"),
            ("rbac.authorization.k8s.io", "clusterrolebindings"), ("", "namespaces"), ("", "serviceaccounts"), ("", "pods"), ("", "nodes"),
            ("", "services"), ("scheduling.k8s.io", "priorityclasses"), ("node.k8s.io", "runtimeclasses"),
        ];

        public Mirrors(ServerContext context, ServerParts parts)
        {
            foreach ((string group, string resource) in Wanted)
            {
                if (context.Resources.Find(group, resource) is { } definition)
                {
                    StoreMirror mirror = new(definition, context.Store, context.Time);
                    All.Add(mirror);
                    parts.Background.Add(($"mirror-{resource}", mirror.RunAsync));
                }
            }
        }

        public List<StoreMirror> All { get; } = [];

        public StoreMirror? Find(string group, string resource) =>
            All.FirstOrDefault(m => m.Resource.Group == group && m.Resource.Plural == resource);

        public void Feed(string group, string[] resources, Action<string, KubeObject> set, Action<string, ObjectKey> remove)
        {
            foreach (string resource in resources)
            {
                Find(group, resource)?.Listen(o => set(resource, o), k => remove(resource, k));
            }
        }
    }
}
