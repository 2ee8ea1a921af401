using System.Text.Json.Nodes;
using Kapell.ApiServer.Http;
using Kapell.ApiServer.Registry;
using Kapell.ApiServer.Storage;
using Kapell.ApiServer.WatchCache;
using Kapell.Machinery;
using Microsoft.AspNetCore.Http;

namespace Kapell.ApiServer.Verbs;

/// <summary>The generic verbs over HTTP, for any resource and its views (upstream: endpoints/handlers).</summary>
internal sealed class ResourceHandler(
    GenericRegistry registry, Deletion deletion, EtcdStorage storage, StoreMirror mirror, ListReader lists, WatchStream watches,
    Decoder decoder, PatchEngine patches, ServerOptions options, TimeProvider time, Func<double> random)
{
    public Task HandleAsync(HttpContext context, RequestInfo info, ResourceDefinition definition, SubresourceDefinition? sub, CancellationToken cancel) =>
        info.Verb switch
        {
            "get" => GetAsync(context, Request(context, info, definition, sub, "GetOptions", cancel)),
            "list" => ListAsync(context, info, definition, cancel),
            "watch" => WatchAsync(context, info, definition, cancel),
            "create" => CreateAsync(context, Request(context, info, definition, sub, "CreateOptions", cancel)),
            "update" => UpdateAsync(context, Request(context, info, definition, sub, "UpdateOptions", cancel)),
            "patch" => PatchAsync(context, Request(context, info, definition, sub, "PatchOptions", cancel)),
            "delete" => DeleteAsync(context, info, definition, cancel),
            "deletecollection" => DeleteCollectionAsync(context, info, definition, cancel),
            _ => throw new StatusException(Status.MethodNotSupported(definition.GroupResource, info.Verb)),
        };

    private async Task GetAsync(HttpContext context, VerbRequest request)
    {
        ItemWriter writer = Writer(context, request.Definition, out OutputFormat format);
        string version = context.Request.Query["resourceVersion"].FirstOrDefault() ?? "";
        StoredObject? found = null;
        if (version.Length > 0)
        {
            ListOptions read = ListOptions.Parse(context.Request.Query, watch: false);
            if (read.Revision is > 0)
            {
                await lists.EnsureReachedAsync(read.Revision.Value, request.Cancel);
            }

            found = mirror.IsReady ? mirror.For(request.Definition).Get(EtcdStorage.KeyOf(request.Namespace, request.Name)) : null;
        }

        found ??= await storage.GetAsync(request.Definition, request.Namespace, request.Name, request.Cancel);
        if (found is null)
        {
            throw new StatusException(Status.NotFound(request.Definition.GroupResource, request.Name));
        }

        StoredObject view = found.ViewFor(request.Definition);
        byte[] body = request.Subresource?.View is { } show ? JsonBytes.Of(show(view.ToNode())) : writer.One(view);
        await Responses.WriteAsync(context, 200, body, format, request.Cancel);
    }

    private async Task ListAsync(HttpContext context, RequestInfo info, ResourceDefinition definition, CancellationToken cancel)
    {
        ItemWriter writer = Writer(context, definition, out OutputFormat format);
        ListOptions asked = ListOptions.Parse(context.Request.Query, watch: false);
        Selection selection = new(definition, NamespaceOf(info, definition), asked.Labels, asked.Fields);
        (IReadOnlyList<StoredObject> items, ListMeta meta) = await lists.ListAsync(selection, asked, cancel);
        await Responses.WriteAsync(context, 200, writer.List(items, meta), format, cancel);
    }

    private async Task WatchAsync(HttpContext context, RequestInfo info, ResourceDefinition definition, CancellationToken cancel)
    {
        ItemWriter writer = Writer(context, definition, out _);
        ListOptions asked = ListOptions.Parse(context.Request.Query, watch: true);
        FieldSelector fields = info.NameInPath && info.Name.Length > 0 ? FieldSelector.Parse("metadata.name=" + info.Name) : asked.Fields;
        Selection selection = new(definition, NamespaceOf(info, definition), asked.Labels, fields);
        // Spread out, so that watches opened together do not all come back together.
        TimeSpan lifetime = asked.TimeoutSeconds is > 0
            ? TimeSpan.FromSeconds(Math.Min(asked.TimeoutSeconds.Value, 86400))
            : options.MinRequestTimeout * (1 + random());
        await watches.ServeAsync(context, selection, asked, writer, lifetime, cancel);
    }

    private async Task CreateAsync(HttpContext context, VerbRequest request)
    {
        ItemWriter writer = Writer(context, request.Definition, out OutputFormat format);
        byte[] json = Bodies.ToJson(await Bodies.ReadAsync(context.Request, request.Cancel), Bodies.MediaType(context.Request));
        ResourceDefinition definition = request.Definition;
        JsonObject obj = decoder.Object(json, definition.GroupVersionKind, decoder.SchemaOf(definition.SchemaName), request);
        definition.Default?.Invoke(obj);
        StoredObject created = await registry.CreateAsync(request, obj);
        await AnswerAsync(context, request, 201, writer.One(created), format);
    }

    private async Task UpdateAsync(HttpContext context, VerbRequest request)
    {
        ItemWriter writer = Writer(context, request.Definition, out OutputFormat format);
        byte[] json = Bodies.ToJson(await Bodies.ReadAsync(context.Request, request.Cancel), Bodies.MediaType(context.Request));
        ResourceDefinition definition = request.Definition;
        SubresourceDefinition? sub = request.Subresource;
        JsonObject body = sub?.View is null
            ? decoder.Object(json, definition.GroupVersionKind, decoder.SchemaOf(definition.SchemaName), request)
            : decoder.Object(json, sub.Kind, decoder.SchemaOf(sub.Kind), request);
        (StoredObject updated, bool created) = await registry.UpdateAsync(request, definition.CreateOnUpdate && sub is null, current =>
        {
            if (sub?.Merge is { } merge && current is not null)
            {
                CheckViewName(request, body);
                merge(current, body.DeepClone().AsObject());
                return current;
            }

            JsonObject wanted = body.DeepClone().AsObject();
            definition.Default?.Invoke(wanted);
            return wanted;
        });
        await AnswerAsync(context, request, created ? 201 : 200, Shown(request, updated, writer), format);
    }

    private async Task PatchAsync(HttpContext context, VerbRequest request)
    {
        ItemWriter writer = Writer(context, request.Definition, out OutputFormat format);
        PatchType type = Patching.TypeOf(Bodies.MediaType(context.Request));
        byte[] body = await Bodies.ReadAsync(context.Request, request.Cancel);
        bool force = RequestInfo.IsTrue(context.Request.Query["force"].FirstOrDefault());
        if (type != PatchType.Apply && context.Request.Query.ContainsKey("force"))
        {
            throw new StatusException(Status.Invalid(new GroupKind("meta.k8s.io", "PatchOptions"), "",
                [FieldError.Forbidden(FieldPath.New("force"), "may not be specified for non-apply patch")]));
        }

        if (type == PatchType.Apply && (context.Request.Query["fieldManager"].FirstOrDefault() ?? "").Length == 0)
        {
            throw new StatusException(Status.Invalid(new GroupKind("meta.k8s.io", "PatchOptions"), "",
                [FieldError.Required(FieldPath.New("fieldManager"), "is required for apply patch")]));
        }

        Patch patch = patches.Prepare(request, type, body, force);
        (StoredObject updated, bool created) = await registry.UpdateAsync(
            request, createIfAbsent: type == PatchType.Apply && request.Subresource is null, current => patches.Produce(request, patch, current));
        await AnswerAsync(context, request, created ? 201 : 200, Shown(request, updated, writer), format);
    }

    private async Task DeleteAsync(HttpContext context, RequestInfo info, ResourceDefinition definition, CancellationToken cancel)
    {
        ItemWriter writer = Writer(context, definition, out OutputFormat format);
        byte[] json = await DeleteBodyAsync(context, cancel);
        (DeleteOptions asked, bool dryRun) = QueryOptions.Delete(json, context.Request.Query);
        VerbRequest request = Request(context, info, definition, null, "DeleteOptions", cancel, dryRun);
        Deletion.Outcome outcome = await deletion.DeleteAsync(request, asked);
        bool accepted = !outcome.Removed && asked.OrphanDependents == false;
        byte[] body = outcome.Removed && !definition.ReturnDeletedObject
            ? JsonBytes.Of(DeletedStatus(definition, outcome.Object))
            : writer.One(outcome.Object);
        await AnswerAsync(context, request, accepted ? 202 : 200, body, format);
    }

    private async Task DeleteCollectionAsync(HttpContext context, RequestInfo info, ResourceDefinition definition, CancellationToken cancel)
    {
        ItemWriter writer = Writer(context, definition, out OutputFormat format);
        byte[] json = await DeleteBodyAsync(context, cancel);
        (DeleteOptions how, bool dryRun) = QueryOptions.Delete(json, context.Request.Query);
        ListOptions asked = ListOptions.Parse(context.Request.Query, watch: false);
        Selection selection = new(definition, NamespaceOf(info, definition), asked.Labels, asked.Fields);
        (IReadOnlyList<StoredObject> items, ListMeta meta) = await lists.ListAsync(selection, asked, cancel);
        List<StoredObject> deleted = [];
        foreach (StoredObject item in items)
        {
            VerbRequest one = new()
            {
                Definition = definition, Namespace = item.Namespace, Name = item.Name, User = context.Caller(), DryRun = dryRun,
                Now = time.GetUtcNow(), Cancel = cancel,
            };
            try
            {
                deleted.Add((await deletion.DeleteAsync(one, how)).Object);
            }
            catch (StatusException e) when (e.IsNotFound)
            {
                // Somebody was faster.
                continue;
            }
        }

        await Responses.WriteAsync(context, 200, writer.List(deleted, new ListMeta(meta.Revision)), format, cancel);
    }

    private static async Task<byte[]> DeleteBodyAsync(HttpContext context, CancellationToken cancel)
    {
        byte[] body = await Bodies.ReadAsync(context.Request, cancel);
        return body.Length == 0 ? body : Bodies.ToJson(body, Bodies.MediaType(context.Request));
    }

    /// <summary>What a delete that removed its object says; kubectl waits for the uid in it.</summary>
    private static JsonObject DeletedStatus(ResourceDefinition definition, StoredObject deleted)
    {
        Status status = new()
        {
            Code = 200, Reason = "", Message = "", Name = deleted.Name, Group = definition.Group, Kind = definition.Plural,
            Uid = deleted.ToKubeObject().Uid,
        };
        JsonObject json = status.ToJson();
        json.Remove("code");
        return json;
    }

    private byte[] Shown(VerbRequest request, StoredObject updated, ItemWriter writer) =>
        request.Subresource?.View is { } show ? JsonBytes.Of(show(updated.ToNode())) : writer.One(updated);

    private static void CheckViewName(VerbRequest request, JsonObject view)
    {
        string name = ObjectMeta.Of(view).Text("name");
        if (name != request.Name)
        {
            throw new StatusException(Status.BadRequest(name.Length == 0
                ? $"the name of the object ({request.Name} based on URL) was undeterminable: name must be provided"
                : $"the name of the object ({name}) does not match the name on the URL ({request.Name})"));
        }
    }

    private static async Task AnswerAsync(HttpContext context, VerbRequest request, int code, byte[] body, OutputFormat format)
    {
        foreach (string warning in request.Warnings)
        {
            context.AddWarning(warning);
        }

        await Responses.WriteAsync(context, code, body, format, request.Cancel);
    }

    private ItemWriter Writer(HttpContext context, ResourceDefinition definition, out OutputFormat format)
    {
        format = OutputFormat.Negotiate(context.Request, ItemWriter.Allows);
        string include = context.Request.Query["includeObject"].FirstOrDefault() ?? "";
        return new ItemWriter(definition, format, include, time.GetUtcNow());
    }

    private VerbRequest Request(
        HttpContext context, RequestInfo info, ResourceDefinition definition, SubresourceDefinition? sub, string kind, CancellationToken cancel,
        bool? dryRun = null) => new()
        {
            Definition = definition, Subresource = sub, Namespace = NamespaceOf(info, definition), Name = info.Name, User = context.Caller(),
            DryRun = dryRun ?? QueryOptions.DryRun(context.Request.Query["dryRun"], kind),
            Validation = kind is "CreateOptions" or "UpdateOptions" or "PatchOptions"
                ? QueryOptions.Validation(context.Request.Query, kind) : FieldValidation.Ignore,
            FieldManager = QueryOptions.FieldManager(context.Request, kind), Now = time.GetUtcNow(), Cancel = cancel,
        };

    private static string NamespaceOf(RequestInfo info, ResourceDefinition definition) => definition.Namespaced ? info.Namespace : "";
}
