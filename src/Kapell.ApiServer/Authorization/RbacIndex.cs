using System.Collections.Immutable;
using System.Text.Json;
using Kapell.Machinery;

namespace Kapell.ApiServer.Authorization;

/// <summary>
/// Roles and bindings in memory, indexed by whom they bind. Fed by a watch through <see cref="Set"/> and <see cref="Remove"/>;
/// any thread may read at any time and sees one consistent state.
/// </summary>
internal sealed class RbacIndex
{
    private readonly Lock _writing = new();
    private volatile State _state = State.Empty;

    /// <summary>All ClusterRoles, for aggregation.</summary>
    public IEnumerable<KubeObject> ClusterRoles => _state.ClusterRoles.Values;

    /// <param name="resource">roles, rolebindings, clusterroles or clusterrolebindings.</param>
    public void Set(string resource, KubeObject obj)
    {
        lock (_writing)
        {
            State state = _state;
            _state = resource switch
            {
                "roles" => state with { Rules = state.Rules.SetItem(obj.Key, PolicyRule.ListFrom(obj.Root)) },
                "clusterroles" => state with
                {
                    Rules = state.Rules.SetItem(new ObjectKey("", obj.Name), PolicyRule.ListFrom(obj.Root)),
                    ClusterRoles = state.ClusterRoles.SetItem(obj.Name, obj),
                },
                _ => state.Without(obj.Key).With(Binding.From(obj)),
            };
        }
    }

    public void Remove(string resource, ObjectKey key)
    {
        lock (_writing)
        {
            State state = _state;
            _state = resource switch
            {
                "roles" => state with { Rules = state.Rules.Remove(key) },
                "clusterroles" => state with
                {
                    Rules = state.Rules.Remove(new ObjectKey("", key.Name)), ClusterRoles = state.ClusterRoles.Remove(key.Name),
                },
                _ => state.Without(key),
            };
        }
    }

    /// <summary>
    /// Walks all rules that apply to a user, cluster-wide first, then in the namespace; stops when the visitor says so. Bindings to
    /// roles that do not exist are told in <paramref name="errors"/> (upstream: DefaultRuleResolver.VisitRulesFor).
    /// </summary>
    public bool Visit(string userName, IReadOnlyList<string> groups, string space, Func<PolicyRule, bool> visit, List<string>? errors)
    {
        State state = _state;
        return VisitScope(state, "", userName, groups, visit, errors)
            || (space.Length > 0 && VisitScope(state, space, userName, groups, visit, errors));
    }

    /// <summary>All rules held by a user in a namespace.</summary>
    public List<PolicyRule> RulesOf(string userName, IReadOnlyList<string> groups, string space, List<string> errors)
    {
        List<PolicyRule> rules = [];
        Visit(userName, groups, space, r =>
        {
            rules.Add(r);
            return false;
        }, errors);
        return rules;
    }

    /// <summary>The rules of the role a binding names, or null when there is none.</summary>
    public IReadOnlyList<PolicyRule>? RulesOfRole(string roleKind, string space, string name) =>
        _state.Rules.GetValueOrDefault(new ObjectKey(roleKind == "ClusterRole" ? "" : space, name));

    public static string MissingRole(string roleKind, string name) =>
        $"{(roleKind == "ClusterRole" ? "clusterrole" : "role")}.rbac.authorization.k8s.io {GoText.Quote(name)} not found";

    private static bool VisitScope(
        State state, string space, string userName, IReadOnlyList<string> groups, Func<PolicyRule, bool> visit, List<string>? errors)
    {
        if (VisitSubject(state, new Subject(space, "U", userName), visit, errors))
        {
            return true;
        }

        for (int i = 0; i < groups.Count; i++)
        {
            if (VisitSubject(state, new Subject(space, "G", groups[i]), visit, errors))
            {
                return true;
            }
        }

        return false;
    }

    private static bool VisitSubject(State state, Subject subject, Func<PolicyRule, bool> visit, List<string>? errors)
    {
        if (!state.BySubject.TryGetValue(subject, out ImmutableArray<Binding> bindings))
        {
            return false;
        }

        foreach (Binding binding in bindings)
        {
            if (!state.Rules.TryGetValue(binding.Role, out List<PolicyRule>? rules))
            {
                errors?.Add(MissingRole(binding.RoleKind, binding.Role.Name));
                continue;
            }

            foreach (PolicyRule rule in rules)
            {
                if (visit(rule))
                {
                    return true;
                }
            }
        }

        return false;
    }

    private readonly record struct Subject(string Namespace, string Kind, string Name);

    private sealed record Binding(ObjectKey Key, ObjectKey Role, string RoleKind, ImmutableArray<Subject> Subjects)
    {
        public static Binding From(KubeObject obj)
        {
            JsonElement roleRef = obj.Root.Get("roleRef");
            string kind = roleRef.Text("kind");
            ObjectKey role = new(kind == "ClusterRole" ? "" : obj.Namespace, roleRef.Text("name"));
            ImmutableArray<Subject> subjects = [.. obj.Root.Items("subjects").Select(s => SubjectOf(s, obj.Namespace)).OfType<Subject>().Distinct()];
            return new Binding(obj.Key, role, kind, subjects);
        }

        private static Subject? SubjectOf(JsonElement subject, string space)
        {
            string name = subject.Text("name");
            switch (subject.Text("kind"))
            {
                case "User":
                    return new Subject(space, "U", name);
                case "Group":
                    return new Subject(space, "G", name);
                case "ServiceAccount":
                    string own = subject.Text("namespace");
                    own = own.Length == 0 ? space : own;
                    return own.Length == 0 ? null : new Subject(space, "U", $"system:serviceaccount:{own}:{name}");
                default:
                    return null;
            }
        }
    }

    private sealed record State(
        ImmutableDictionary<ObjectKey, List<PolicyRule>> Rules,
        ImmutableDictionary<string, KubeObject> ClusterRoles,
        ImmutableDictionary<ObjectKey, Binding> Bindings,
        ImmutableDictionary<Subject, ImmutableArray<Binding>> BySubject)
    {
        public static State Empty { get; } = new(
            ImmutableDictionary<ObjectKey, List<PolicyRule>>.Empty,
            ImmutableDictionary.Create<string, KubeObject>(StringComparer.Ordinal),
            ImmutableDictionary<ObjectKey, Binding>.Empty,
            ImmutableDictionary<Subject, ImmutableArray<Binding>>.Empty);

        public State With(Binding binding)
        {
            ImmutableDictionary<Subject, ImmutableArray<Binding>>.Builder index = BySubject.ToBuilder();
            foreach (Subject subject in binding.Subjects)
            {
                index[subject] = index.TryGetValue(subject, out ImmutableArray<Binding> there) ? there.Add(binding) : [binding];
            }

            return this with { Bindings = Bindings.SetItem(binding.Key, binding), BySubject = index.ToImmutable() };
        }

        public State Without(ObjectKey key)
        {
            if (!Bindings.TryGetValue(key, out Binding? old))
            {
                return this;
            }

            ImmutableDictionary<Subject, ImmutableArray<Binding>>.Builder index = BySubject.ToBuilder();
            foreach (Subject subject in old.Subjects)
            {
                ImmutableArray<Binding> rest = index[subject].RemoveAll(b => b.Key == key);
                if (rest.IsEmpty)
                {
                    index.Remove(subject);
                }
                else
                {
                    index[subject] = rest;
                }
            }

            return this with { Bindings = Bindings.Remove(key), BySubject = index.ToImmutable() };
        }
    }
}
