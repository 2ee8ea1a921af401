using System.Text.Json.Nodes;
using Kapell.ApiServer.Registry;
using Kapell.Machinery;

namespace Kapell.ApiServer.OpenApi;

/// <summary>
/// The paths of resources as OpenAPI operations: action, group-version-kind and the parameters by which kubectl finds out what the
/// server can do (fieldValidation on patch, dryRun).
/// </summary>
internal sealed class PathDocuments(SchemaDocuments schemas, bool three)
{
    private const string DeleteOptions = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";
    private const string Status = "io.k8s.apimachinery.pkg.apis.meta.v1.Status";

    private static readonly string[] PatchTypes =
    [
        "application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json", "application/apply-patch+yaml",
    ];

    private static readonly (string Name, string Type)[] ListParameters =
    [
        ("allowWatchBookmarks", "boolean"), ("continue", "string"), ("fieldSelector", "string"), ("labelSelector", "string"), ("limit", "integer"),
        ("resourceVersion", "string"), ("resourceVersionMatch", "string"), ("sendInitialEvents", "boolean"), ("timeoutSeconds", "integer"), ("watch", "boolean"),
    ];

    private static readonly (string Name, string Type)[] WriteParameters =
        [("dryRun", "string"), ("fieldManager", "string"), ("fieldValidation", "string")];

    private static readonly (string Name, string Type)[] PatchParameters = [.. WriteParameters, ("force", "boolean")];

    private static readonly (string Name, string Type)[] DeleteParameters =
        [("dryRun", "string"), ("gracePeriodSeconds", "integer"), ("orphanDependents", "boolean"), ("propagationPolicy", "string")];

    /// <summary>The types that paths refer to besides the resources' own.</summary>
    public static IReadOnlyList<string> Types { get; } = [DeleteOptions, Status, SchemaDocuments.Patch];

    public void Add(JsonObject paths, ResourceDefinition resource)
    {
        string all = resource.GroupVersionResource.BasePath + "/" + resource.Plural;
        string within = resource.Namespaced ? $"{resource.GroupVersionResource.BasePath}/namespaces/{{namespace}}/{resource.Plural}" : all;
        HashSet<string> verbs = [.. resource.Verbs];
        Facts facts = new(resource, resource.SchemaName, resource.GroupVersionKind, verbs);
        string listType = resource.SchemaName + "List";
        if (resource.Namespaced && verbs.Contains("list"))
        {
            paths[all] = new JsonObject { ["get"] = Operation(facts, "list", "listAll", listType, ListParameters) };
        }

        JsonObject collection = [];
        Put(collection, facts, "list", "get", "list", listType, ListParameters);
        Put(collection, facts, "create", "post", "post", resource.SchemaName, WriteParameters);
        Put(collection, facts, "deletecollection", "delete", "deletecollection", Status, [.. ListParameters, .. DeleteParameters]);
        AddItem(paths, within, collection, resource.Namespaced ? ["namespace"] : []);
        string[] names = resource.Namespaced ? ["name", "namespace"] : ["name"];
        JsonObject item = [];
        PutItemVerbs(item, facts);
        Put(item, facts, "delete", "delete", "delete", Status, DeleteParameters);
        AddItem(paths, within + "/{name}", item, names);
        foreach (SubresourceDefinition sub in resource.Subresources)
        {
            string type = sub.Kind == resource.GroupVersionKind ? resource.SchemaName : SchemaNameOf(sub.Kind);
            if (!schemas.Knows(type))
            {
                // Kinds that only carry query parameters (PodExecOptions, NodeProxyOptions): no body to describe.
                continue;
            }

            JsonObject operations = [];
            PutItemVerbs(operations, new Facts(resource, type, sub.Kind, [.. sub.Verbs], sub.Name));
            AddItem(paths, within + "/{name}/" + sub.Name, operations, names);
        }
    }

    /// <summary>By the kind's group: <c>io.k8s.api.autoscaling.v1.Scale</c>.</summary>
    public static string SchemaNameOf(GroupVersionKind kind) =>
        $"io.k8s.api.{(kind.Group.Length == 0 ? "core" : kind.Group.Split('.')[0])}.{kind.Version}.{kind.Kind}";

    private void AddItem(JsonObject paths, string path, JsonObject operations, string[] parameters)
    {
        if (operations.Count == 0)
        {
            return;
        }

        if (parameters.Length > 0)
        {
            operations["parameters"] = new JsonArray([.. parameters.Select(p => Parameter(p, "string", "path", three))]);
        }

        paths[path] = operations;
    }

    private void PutItemVerbs(JsonObject item, Facts facts)
    {
        Put(item, facts, "get", "get", "get", facts.TypeName, []);
        Put(item, facts, "update", "put", "put", facts.TypeName, WriteParameters);
        Put(item, facts, "patch", "patch", "patch", facts.TypeName, PatchParameters);
    }

    private void Put(JsonObject item, Facts facts, string verb, string method, string action, string answer, (string Name, string Type)[] parameters)
    {
        if (facts.Verbs.Contains(verb))
        {
            item[method] = Operation(facts, action, verb, answer, parameters);
        }
    }

    private JsonObject Operation(Facts facts, string action, string verb, string answer, (string Name, string Type)[] parameters)
    {
        string? body = verb switch
        {
            "create" or "update" => facts.TypeName,
            "patch" => SchemaDocuments.Patch,
            "delete" or "deletecollection" => DeleteOptions,
            _ => null,
        };
        JsonArray list = [.. parameters.Select(p => Parameter(p.Name, p.Type, "query", three))];
        JsonObject operation = new()
        {
            ["description"] = Sentence(action, facts.Kind.Kind),
            ["operationId"] = OperationId(action, verb, facts),
            ["tags"] = new JsonArray((JsonNode)Tag(facts.Resource)),
        };
        if (three)
        {
            operation["requestBody"] = body is null ? null : new JsonObject { ["content"] = Content(verb == "patch" ? PatchTypes : ["*/*"], body) };
            operation["responses"] = new JsonObject { ["200"] = new JsonObject { ["description"] = "OK", ["content"] = Content(["application/json", "application/yaml"], answer) } };
            if (body is null)
            {
                operation.Remove("requestBody");
            }
        }
        else
        {
            if (body is not null)
            {
                JsonObject parameter = new() { ["name"] = "body", ["in"] = "body", ["required"] = verb is "create" or "update" or "patch" };
                parameter["schema"] = schemas.Ref(body);
                list.Insert(0, parameter);
            }

            operation["consumes"] = new JsonArray([.. (verb == "patch" ? PatchTypes : ["*/*"]).Select(t => (JsonNode)t)]);
            operation["produces"] = new JsonArray("application/json", "application/yaml");
            operation["responses"] = new JsonObject { ["200"] = new JsonObject { ["description"] = "OK", ["schema"] = schemas.Ref(answer) } };
        }

        if (list.Count > 0)
        {
            operation["parameters"] = list;
        }

        operation["x-kubernetes-action"] = action;
        operation["x-kubernetes-group-version-kind"] =
            new JsonObject { ["group"] = facts.Kind.Group, ["kind"] = facts.Kind.Kind, ["version"] = facts.Kind.Version };
        return operation;
    }

    private JsonObject Content(string[] types, string schema) =>
        new(types.Select(t => KeyValuePair.Create(t, (JsonNode?)new JsonObject { ["schema"] = schemas.Ref(schema) })));

    private static JsonNode Parameter(string name, string type, string place, bool nested)
    {
        JsonObject parameter = new() { ["name"] = name, ["in"] = place };
        if (place == "path")
        {
            parameter["required"] = true;
        }

        if (nested)
        {
            parameter["schema"] = new JsonObject { ["type"] = type, ["uniqueItems"] = true };
        }
        else
        {
            parameter["type"] = type;
            parameter["uniqueItems"] = true;
        }

        return parameter;
    }

    private static string Sentence(string action, string kind) => $"{action} {kind}";

    // readCoreV1NamespacedPod in spirit: unique by action, resource and subresource.
    private static string OperationId(string action, string verb, Facts facts) =>
        $"{action}_{Tag(facts.Resource)}_{facts.Resource.Plural}{(facts.Subresource.Length > 0 ? "_" + facts.Subresource : "")}{(verb == "listAll" ? "_all" : "")}";

    private static string Tag(ResourceDefinition resource) =>
        (resource.Group.Length == 0 ? "core" : resource.Group.Split('.')[0]) + "_" + resource.Version;

    private sealed record Facts(ResourceDefinition Resource, string TypeName, GroupVersionKind Kind, HashSet<string> Verbs, string Subresource = "");
}
