using Kapell.ApiServer.Registry;
using Kapell.ApiServer.Storage;
using Kapell.Machinery;

namespace Kapell.ApiServer.WatchCache;

/// <summary>Which objects of a resource a list or watch wants (upstream: storage.SelectionPredicate).</summary>
internal sealed class Selection
{
    private readonly ResourceDefinition _definition;
    private readonly string _namespace;
    private readonly LabelSelector _labels;
    private readonly FieldSelector _fields;
    private readonly string? _name;

    public Selection(ResourceDefinition definition, string ns, LabelSelector labels, FieldSelector fields)
    {
        foreach (FieldRequirement requirement in fields.Requirements)
        {
            bool known = requirement.Field == "metadata.name" || (requirement.Field == "metadata.namespace" && definition.Namespaced)
                || definition.SelectableFields.ContainsKey(requirement.Field);
            if (!known)
            {
                throw new StatusException(Status.BadRequest(definition.UnknownField?.Invoke(requirement.Field) ?? (
                    definition.SelectableFields.Count > 0
                        ? "field label not supported: " + requirement.Field
                        : $"\"{requirement.Field}\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")));
            }
        }

        _definition = definition;
        _namespace = ns;
        _labels = labels;
        _fields = fields;
        _name = fields.ExactValue("metadata.name");
        string? wanted = fields.ExactValue("metadata.namespace");
        if (wanted is not null && ns.Length == 0 && fields.Requirements.Count(r => r.Field == "metadata.namespace") == 1)
        {
            _namespace = wanted;
        }
    }

    public ResourceDefinition Definition => _definition;

    public string Namespace => _namespace;

    /// <summary>The exact name wanted, when there is one.</summary>
    public string? Name => _name;

    /// <summary>True when all objects of the namespace (or all) are wanted.</summary>
    public bool IsEverything => _labels.IsEverything && _fields.IsEverything;

    public bool Matches(StoredObject stored)
    {
        if ((_namespace.Length > 0 && stored.Namespace != _namespace) || (_name is not null && stored.Name != _name))
        {
            return false;
        }

        if (!_labels.IsEverything && !_labels.Matches(stored.Labels))
        {
            return false;
        }

        if (_fields.IsEverything)
        {
            return true;
        }

        StoredObject view = stored.ViewFor(_definition);
        return _fields.Matches(f => view.Field(_definition, f));
    }
}
