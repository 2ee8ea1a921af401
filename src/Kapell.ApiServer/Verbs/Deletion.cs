using System.Text.Json.Nodes;
using Kapell.ApiServer.Http;
using Kapell.ApiServer.Registry;
using Kapell.ApiServer.Storage;
using Kapell.Machinery;

namespace Kapell.ApiServer.Verbs;

/// <summary>Delete with grace, finalizers and propagation (upstream: store.go Delete, registry/rest/delete.go).</summary>
internal sealed class Deletion(AdmissionChain admission, EtcdStorage storage)
{
    /// <param name="Object">The last or the marked state.</param>
    /// <param name="Removed">False: only marked, something still holds it.</param>
    public readonly record struct Outcome(StoredObject Object, bool Removed);

    public async Task<Outcome> DeleteAsync(VerbRequest request, DeleteOptions options)
    {
        ResourceDefinition definition = request.Definition;
        Validate(options);
        StoredObject? current = await storage.GetAsync(definition, request.Namespace, request.Name, request.Cancel);
        bool admitted = false;
        while (true)
        {
            if (current is null)
            {
                throw new StatusException(Status.NotFound(definition.GroupResource, request.Name));
            }

            StoredObject view = current.ViewFor(definition);
            JsonObject obj = view.ToNode();
            CheckPreconditions(definition, view, obj, options.Preconditions);
            if (!admitted)
            {
                AdmissionRequest admission1 = request.Admission(AdmissionOperation.Delete, request.Name, null, obj);
                await admission.MutateAsync(admission1, request.Cancel);
                await admission.ValidateAsync(admission1, request.Cancel);
                request.Warnings.AddRange(admission1.Warnings);
                admitted = true;
            }

            Plan plan = Decide(definition, obj, options, request.Now);
            if (plan == Plan.Nothing || (plan == Plan.Mark && request.DryRun))
            {
                return new Outcome(plan == Plan.Nothing ? view : Preview(current, obj), false);
            }

            if (plan == Plan.Remove && request.DryRun)
            {
                return new Outcome(view, true);
            }

            if (plan == Plan.Mark)
            {
                (StoredObject? written, StoredObject? found) =
                    await storage.ReplaceAsync(definition, request.Namespace, request.Name, obj, current.Revision, request.Cancel);
                if (written is not null)
                {
                    return new Outcome(written.ViewFor(definition), false);
                }

                current = found;
                continue;
            }

            (long revision, StoredObject? other) =
                await storage.RemoveAsync(definition, request.Namespace, request.Name, current.Revision, request.Cancel);
            if (revision > 0)
            {
                return new Outcome(view.At(revision), true);
            }

            current = other;
        }
    }

    /// <exception cref="StatusException">422 as upstream's ValidateDeleteOptions.</exception>
    public static void Validate(DeleteOptions options)
    {
        List<FieldError> errors = [];
        FieldPath path = FieldPath.New("propagationPolicy");
        if (options.PropagationPolicy is { } policy && options.OrphanDependents is not null)
        {
            errors.Add(FieldError.Invalid(path, policy, "orphanDependents and deletionPropagation cannot be both set"));
        }

        if (options.PropagationPolicy is { } value && value is not ("Orphan" or "Background" or "Foreground"))
        {
            errors.Add(FieldError.NotSupported(path, value, ["Foreground", "Background", "Orphan", "nil"]));
        }

        if (errors.Count > 0)
        {
            throw new StatusException(Status.Invalid(new GroupKind("meta.k8s.io", "DeleteOptions"), "", errors));
        }
    }

    /// <summary>What is to be done; for <see cref="Plan.Mark"/> the object has been changed to what is to be stored.</summary>
    internal static Plan Decide(ResourceDefinition definition, JsonObject obj, DeleteOptions options, DateTimeOffset now)
    {
        JsonObject metadata = ObjectMeta.Of(obj);
        bool deleting = metadata["deletionTimestamp"] is not null;
        bool shortened = false;
        if (definition.GracePeriodSeconds is { } graceOf && deleting && metadata.Long("deletionGracePeriodSeconds") > 0)
        {
            long old = metadata.Long("deletionGracePeriodSeconds") ?? 0;
            long? asked = options.GracePeriodSeconds is < 0 ? 1 : options.GracePeriodSeconds;
            if (asked is null || asked >= old)
            {
                return Plan.Nothing;
            }

            Shorten(metadata, old, asked.Value, now);
            shortened = true;
        }

        bool finalizersChanged = UpdateFinalizers(metadata, options);
        bool held = ObjectMeta.Finalizers(metadata).Count > 0 || definition.HoldsDeletion?.Invoke(obj) == true;
        long grace = deleting ? metadata.Long("deletionGracePeriodSeconds") ?? 0
            : definition.GracePeriodSeconds?.Invoke(obj, options.GracePeriodSeconds is < 0 ? 1 : options.GracePeriodSeconds) ?? 0;
        if (grace == 0 && !held)
        {
            return Plan.Remove;
        }

        if (!deleting)
        {
            metadata["deletionTimestamp"] = KubeTime.Format(now.AddSeconds(grace));
            metadata["deletionGracePeriodSeconds"] = grace;
            if (metadata.Long("generation") > 0)
            {
                metadata["generation"] = metadata.Long("generation") + 1;
            }

            definition.PrepareForDelete?.Invoke(obj);
            return Plan.Mark;
        }

        return shortened || finalizersChanged ? Plan.Mark : Plan.Nothing;
    }

    private static void Shorten(JsonObject metadata, long old, long asked, DateTimeOffset now)
    {
        _ = KubeTime.TryParse(metadata.Text("deletionTimestamp"), out DateTimeOffset deadline);
        DateTimeOffset moved = deadline.AddSeconds(asked - old);
        if (moved < now)
        {
            moved = now;
            asked = asked == 0 ? 0 : 1;
        }

        metadata["deletionTimestamp"] = KubeTime.Format(moved);
        metadata["deletionGracePeriodSeconds"] = asked;
    }

    /// <summary>Finalizers for the garbage collector, as the propagation policy says (store.go deletionFinalizersForGarbageCollection).</summary>
    private static bool UpdateFinalizers(JsonObject metadata, DeleteOptions options)
    {
        List<string> finalizers = ObjectMeta.Finalizers(metadata);
        bool hasOrphan = finalizers.Contains(ObjectMeta.OrphanFinalizer);
        bool hasForeground = finalizers.Contains(ObjectMeta.ForegroundFinalizer);
        bool orphan;
        bool foreground;
        if (options.OrphanDependents is { } legacy)
        {
            (orphan, foreground) = (legacy, false);
        }
        else if (options.PropagationPolicy is { } policy)
        {
            (orphan, foreground) = (policy == "Orphan", policy == "Foreground");
        }
        else
        {
            (orphan, foreground) = (hasOrphan, hasForeground && !hasOrphan);
        }

        if (orphan == hasOrphan && foreground == hasForeground)
        {
            return false;
        }

        finalizers.RemoveAll(f => f is ObjectMeta.OrphanFinalizer or ObjectMeta.ForegroundFinalizer);
        if (orphan)
        {
            finalizers.Add(ObjectMeta.OrphanFinalizer);
        }

        if (foreground)
        {
            finalizers.Add(ObjectMeta.ForegroundFinalizer);
        }

        ObjectMeta.SetFinalizers(metadata, finalizers);
        return true;
    }

    private static StoredObject Preview(StoredObject current, JsonObject obj)
    {
        ObjectMeta.Of(obj).Remove("resourceVersion");
        return StoredObject.Read(current.Key, JsonBytes.Of(obj), current.Revision);
    }

    private static void CheckPreconditions(ResourceDefinition definition, StoredObject current, JsonObject obj, Preconditions? preconditions)
    {
        string uid = ObjectMeta.Of(obj).Text("uid");
        GroupResource resource = new(definition.Group, definition.Kind);
        if (preconditions?.Uid is { } wantedUid && wantedUid != uid)
        {
            throw new StatusException(Status.Conflict(resource, current.Name,
                $"the UID in the precondition ({wantedUid}) does not match the UID in record ({uid}). The object might have been deleted and then recreated"));
        }

        if (preconditions?.ResourceVersion is { } wanted && wanted != current.Revision.ToString())
        {
            throw new StatusException(Status.Conflict(resource, current.Name,
                $"the ResourceVersion in the precondition ({wanted}) does not match the ResourceVersion in record ({current.Revision}). The object might have been modified"));
        }
    }

    /// <summary>What a delete comes to.</summary>
    internal enum Plan
    {
        /// <summary>It is on its way already.</summary>
        Nothing,
        Mark,
        Remove,
    }
}
