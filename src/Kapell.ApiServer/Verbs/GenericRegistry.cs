using System.Text.Json.Nodes;
using Kapell.ApiServer.Http;
using Kapell.ApiServer.Registry;
using Kapell.ApiServer.Storage;
using Kapell.ApiServer.WatchCache;
using Kapell.Machinery;

namespace Kapell.ApiServer.Verbs;

/// <summary>
/// Create and update over any <see cref="ResourceDefinition"/> (upstream: registry/generic/registry/store.go and
/// endpoints/handlers). Deletes are in <see cref="Deletion"/>.
/// </summary>
internal sealed class GenericRegistry(
    AdmissionChain admission, EtcdStorage storage, StoreMirror mirror, FieldOwnership ownership, Func<int, int> randomBelow)
{
    private const int GeneratedNameAttempts = 8;
    private static readonly FieldPath MetadataPath = FieldPath.New("metadata");

    /// <summary>(current or null) to the object wanted. May run several times, each time with a private copy.</summary>
    public delegate JsonObject Produce(JsonObject? current);

    /// <param name="request">Its <c>Name</c> counts when set (create by PUT); otherwise the object's.</param>
    /// <param name="obj">Decoded and defaulted; becomes the registry's.</param>
    public async Task<StoredObject> CreateAsync(VerbRequest request, JsonObject obj)
    {
        ResourceDefinition definition = request.Definition;
        JsonObject metadata = ObjectMeta.Of(obj);
        obj["apiVersion"] = definition.GroupVersionKind.ApiVersion;
        obj["kind"] = definition.Kind;
        ObjectMeta.WipeSystemFields(metadata);
        ObjectMeta.EnsureNamespace(metadata, definition, request.Namespace);
        request.Warn(ObjectMeta.DropOwnersSaidTwice(metadata));
        if (metadata.Text("resourceVersion").Length > 0)
        {
            throw new StatusException(new Status { Code = 500, Reason = "", Message = "resourceVersion should not be set on objects to be created" });
        }

        if (request.Name.Length > 0)
        {
            CheckName(request, metadata);
        }

        ownership.OnWrite(request, null, obj);
        AdmissionRequest admitted = request.Admission(AdmissionOperation.Create, metadata.Text("name"), obj, null);
        try
        {
            return await CreateAdmittedAsync(request, admitted);
        }
        catch
        {
            await AdmissionChain.UndoAsync(admitted);
            throw;
        }
    }

    /// <summary>Read, produce, compare and swap (GuaranteedUpdate). Created is true when CreateOnUpdate made it.</summary>
    /// <param name="createIfAbsent">Apply, and PUT for kinds that allow it.</param>
    public async Task<(StoredObject Object, bool Created)> UpdateAsync(VerbRequest request, bool createIfAbsent, Produce produce)
    {
        ResourceDefinition definition = request.Definition;
        // The cache may be behind: what fails on its state is tried once more on the store's (upstream: origStateIsCurrent).
        StoredObject? current = mirror.IsReady ? mirror.For(definition).Get(EtcdStorage.KeyOf(request.Namespace, request.Name)) : null;
        bool stale = current is not null;
        current ??= await storage.GetAsync(definition, request.Namespace, request.Name, request.Cancel);
        while (true)
        {
            if (current is null)
            {
                if (!createIfAbsent)
                {
                    throw new StatusException(Status.NotFound(definition.GroupResource, request.Name));
                }

                JsonObject wanted = produce(null);
                return (await CreateAsync(request, wanted), true);
            }

            try
            {
                StoredObject view = current.ViewFor(definition);
                (JsonObject? next, AdmissionRequest? admitted) = await PrepareUpdateAsync(request, view, produce);
                if (next is null)
                {
                    if (!stale)
                    {
                        return (view, false);
                    }
                }
                else
                {
                    (StoredObject? done, StoredObject? found) = await WriteAsync(request, current, next, admitted!);
                    if (done is not null)
                    {
                        return (done.ViewFor(definition), false);
                    }

                    current = found;
                    stale = false;
                    continue;
                }
            }
            catch (StatusException) when (stale)
            {
                // Decided on the store's own state below.
            }

            current = await storage.GetAsync(definition, request.Namespace, request.Name, request.Cancel);
            stale = false;
        }
    }

    private async Task<(StoredObject? Done, StoredObject? Found)> WriteAsync(
        VerbRequest request, StoredObject current, JsonObject next, AdmissionRequest admitted)
    {
        ResourceDefinition definition = request.Definition;
        try
        {
            if (request.DryRun)
            {
                return (Preview(current, next), null);
            }

            if (IsFinished(definition, next))
            {
                // Its last finalizer went with this update (upstream: deleteWithoutFinalizers).
                (long revision, StoredObject? other) =
                    await storage.RemoveAsync(definition, request.Namespace, request.Name, current.Revision, request.Cancel);
                return revision > 0 ? (Preview(current, next).At(revision), null) : (null, other);
            }

            (StoredObject? written, StoredObject? found) =
                await storage.ReplaceAsync(definition, request.Namespace, request.Name, next, current.Revision, request.Cancel);
            if (written is null)
            {
                await AdmissionChain.UndoAsync(admitted);
            }

            return (written, found);
        }
        catch
        {
            await AdmissionChain.UndoAsync(admitted);
            throw;
        }
    }

    /// <summary>The object to store, or null when it is the stored one already.</summary>
    private async Task<(JsonObject? Next, AdmissionRequest? Admitted)> PrepareUpdateAsync(VerbRequest request, StoredObject current, Produce produce)
    {
        ResourceDefinition definition = request.Definition;
        JsonObject old = current.ToNode();
        JsonObject next = produce(current.ToNode());
        JsonObject metadata = ObjectMeta.Of(next);
        JsonObject oldMetadata = ObjectMeta.Of(old);
        CheckName(request, metadata);
        next["apiVersion"] = definition.GroupVersionKind.ApiVersion;
        next["kind"] = definition.Kind;
        ObjectMeta.EnsureNamespace(metadata, definition, request.Namespace);
        request.Warn(ObjectMeta.DropOwnersSaidTwice(metadata));
        CheckVersion(request, metadata, current.Revision);
        ObjectMeta.CarryOver(metadata, oldMetadata);
        if (metadata.Text("uid") != oldMetadata.Text("uid"))
        {
            string key = $"{storage.Prefix}{definition.StorageKey}/{EtcdStorage.KeyOf(request.Namespace, request.Name)}";
            throw new StatusException(Status.Conflict(definition.GroupResource, request.Name,
                $"StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: {metadata.Text("uid")}, UID in object meta: {oldMetadata.Text("uid")}"));
        }

        ownership.OnWrite(request, old, next);
        AdmissionRequest admitted = request.Admission(AdmissionOperation.Update, request.Name, next, old);
        try
        {
            await admission.MutateAsync(admitted, request.Cancel);
            next = admitted.Object!;
            PrepareForUpdate(request, next, old);
            ValidateView(request, next);
            List<FieldError> errors = ObjectMetaValidation.ValidateUpdate(ObjectMeta.Of(next), oldMetadata, MetadataPath);
            ObjectMeta.KubeFinalizers(errors, ObjectMeta.Of(next));
            if (request.Subresource is { } sub)
            {
                errors.AddRange(sub.ValidateUpdate?.Invoke(next, old) ?? []);
            }

            // A view (scale) writes into the parent's own spec, so the parent's rules hold.
            if (request.Subresource is null or { View: not null })
            {
                errors.AddRange(definition.Validate?.Invoke(next) ?? []);
                errors.AddRange(definition.ValidateUpdate?.Invoke(next, old) ?? []);
                request.Warnings.AddRange((definition.Warnings?.Invoke(next) ?? []).Except(request.Warnings));
            }

            if (errors.Count > 0)
            {
                throw new StatusException(Status.Invalid(definition.GroupVersionKind.GroupKind, request.Name, errors));
            }

            await admission.ValidateAsync(admitted, request.Cancel);
            request.Warnings.AddRange(admitted.Warnings.Except(request.Warnings));
            if (JsonNode.DeepEquals(next, old) && !IsFinished(definition, next))
            {
                return (null, null);
            }

            return (next, admitted);
        }
        catch
        {
            await AdmissionChain.UndoAsync(admitted);
            throw;
        }
    }

    /// <summary>A view is validated as what it is, before its parent (upstream: autoscaling validation in each ScaleREST).</summary>
    private static void ValidateView(VerbRequest request, JsonObject next)
    {
        if (request.Subresource is { View: { } view, ValidateView: { } validate } sub && validate(view(next)) is { Count: > 0 } errors)
        {
            throw new StatusException(Status.Invalid(sub.Kind.GroupKind, request.Name, errors));
        }
    }

    private static void PrepareForUpdate(VerbRequest request, JsonObject next, JsonObject old)
    {
        JsonObject metadata = ObjectMeta.Of(next);
        ObjectMeta.Copy(metadata, ObjectMeta.Of(old), "generation");
        if (request.Subresource is { } sub)
        {
            sub.PrepareForUpdate?.Invoke(next, old, request.Facts);
            return;
        }

        request.Definition.PrepareForUpdate?.Invoke(next, old, request.Facts);
    }

    private async Task<StoredObject> CreateAdmittedAsync(VerbRequest request, AdmissionRequest admitted)
    {
        ResourceDefinition definition = request.Definition;
        await admission.MutateAsync(admitted, request.Cancel);
        JsonObject obj = admitted.Object!;
        JsonObject metadata = ObjectMeta.Of(obj);
        metadata["uid"] = Guid.NewGuid().ToString();
        metadata["creationTimestamp"] = KubeTime.Format(request.Now);
        definition.PrepareForCreate?.Invoke(obj, request.Facts);
        string generateName = metadata.Text("generateName");
        bool generated = metadata.Text("name").Length == 0 && generateName.Length > 0;
        for (int attempt = 1; ; attempt++)
        {
            if (generated)
            {
                metadata["name"] = ObjectMeta.GenerateName(generateName, randomBelow);
            }

            string name = metadata.Text("name");
            if (attempt == 1)
            {
                await ValidateNewAsync(request, admitted, obj, name);
            }

            try
            {
                return await StoreNewAsync(request, obj, name);
            }
            catch (StatusException e) when (e.IsAlreadyExists && generated)
            {
                // KEP-4420: a few more draws before giving up.
                if (attempt >= GeneratedNameAttempts)
                {
                    throw new StatusException(e.Status with
                    {
                        Message = $"{e.Message}, the server was not able to generate a unique name for the object", RetryAfterSeconds = 1,
                    });
                }
            }
        }
    }

    private async Task ValidateNewAsync(VerbRequest request, AdmissionRequest admitted, JsonObject obj, string name)
    {
        ResourceDefinition definition = request.Definition;
        List<FieldError> errors =
            ObjectMetaValidation.Validate(ObjectMeta.Of(obj), definition.Namespaced, ObjectMeta.NameCheckOf(definition), MetadataPath);
        ObjectMeta.KubeFinalizers(errors, ObjectMeta.Of(obj));
        errors.AddRange(definition.Validate?.Invoke(obj) ?? []);
        errors.AddRange(definition.ValidateCreate?.Invoke(obj) ?? []);
        if (errors.Count > 0)
        {
            throw new StatusException(Status.Invalid(definition.GroupVersionKind.GroupKind, name, errors));
        }

        request.Warnings.AddRange(definition.Warnings?.Invoke(obj) ?? []);
        await admission.ValidateAsync(admitted, request.Cancel);
        request.Warnings.AddRange(admitted.Warnings.Except(request.Warnings));
    }

    private async Task<StoredObject> StoreNewAsync(VerbRequest request, JsonObject obj, string name)
    {
        ResourceDefinition definition = request.Definition;
        if (!request.DryRun)
        {
            return (await storage.CreateAsync(definition, request.Namespace, name, obj, request.Cancel)).ViewFor(definition);
        }

        return await storage.GetAsync(definition, request.Namespace, name, request.Cancel) is null
            ? StoredObject.Unstored(EtcdStorage.KeyOf(request.Namespace, name), JsonBytes.Of(obj))
            : throw new StatusException(Status.AlreadyExists(definition.GroupResource, name));
    }

    private static StoredObject Preview(StoredObject current, JsonObject next)
    {
        ObjectMeta.Of(next).Remove("resourceVersion");
        return StoredObject.Read(current.Key, JsonBytes.Of(next), current.Revision);
    }

    /// <summary>Marked for deletion and nothing holds it any more.</summary>
    private static bool IsFinished(ResourceDefinition definition, JsonObject obj)
    {
        JsonObject metadata = ObjectMeta.Of(obj);
        return metadata["deletionTimestamp"] is not null && ObjectMeta.Finalizers(metadata).Count == 0
            && metadata.Long("deletionGracePeriodSeconds") == 0 && definition.HoldsDeletion?.Invoke(obj) != true;
    }

    private static void CheckName(VerbRequest request, JsonObject metadata)
    {
        string name = metadata.Text("name");
        if (name.Length == 0)
        {
            throw new StatusException(Status.BadRequest($"the name of the object ({request.Name} based on URL) was undeterminable: name must be provided"));
        }

        if (name != request.Name)
        {
            throw new StatusException(Status.BadRequest($"the name of the object ({name}) does not match the name on the URL ({request.Name})"));
        }

        string ns = metadata.Text("namespace");
        if (request.Definition.Namespaced && ns.Length > 0 && ns != request.Namespace)
        {
            throw new StatusException(Status.BadRequest($"the namespace of the object ({ns}) does not match the namespace on the request ({request.Namespace})"));
        }
    }

    private static void CheckVersion(VerbRequest request, JsonObject metadata, long revision)
    {
        string version = metadata.Text("resourceVersion");
        if (version.Length == 0 || version == "0")
        {
            if (!request.Definition.UnconditionalUpdate && request.Subresource is null)
            {
                // Upstream names the resource here, not the kind (store.go Update).
                throw new StatusException(Status.Invalid(new GroupKind(request.Definition.Group, request.Definition.Plural), request.Name,
                    [FieldError.Invalid(MetadataPath.Child("resourceVersion"), 0L, "must be specified for an update")]));
            }

            metadata["resourceVersion"] = revision.ToString();
            return;
        }

        if (version != revision.ToString())
        {
            throw new StatusException(Status.ObjectModified(request.Definition.GroupResource, request.Name));
        }
    }
}
