using System.Text.Json.Nodes;
using Kapell.Client;
using Kapell.Client.Informers;
using Kapell.Machinery;

namespace Kapell.Controllers.Shared;

/// <summary>
/// Which objects a controller's object owns: those whose controller reference names it, while their labels match; orphans that match are
/// adopted, owned ones that no longer match are released (controller_ref_manager.go). Adoption asks the server once whether the owner is
/// still there, alive and the same: a cache may be behind.
/// </summary>
internal sealed class Claims(KubeClient client, GroupVersionResource ownerResource, GroupVersionResource childResource, Informer children)
{
    /// <param name="extraFinalizer">Added on adoption (batch.kubernetes.io/job-tracking), or empty.</param>
    public async Task<List<KubeObject>> ClaimAsync(
        KubeObject owner, LabelMatch selector, Func<KubeObject, bool> mayAdopt, CancellationToken cancellation, string extraFinalizer = "")
    {
        List<KubeObject> owned = [];
        foreach (KubeObject child in children.Store.ByIndex(Owners.ControllerIndexName, owner.Uid))
        {
            if (child.Namespace != owner.Namespace)
            {
                continue;
            }

            if (selector.Matches(child.Labels))
            {
                owned.Add(child);
            }
            else if (!owner.IsDeleting)
            {
                await ReleaseAsync(owner, child, cancellation);
            }
        }

        if (owner.IsDeleting)
        {
            return owned;
        }

        bool asked = false;
        foreach (KubeObject orphan in children.Store.ByIndex(Owners.ControllerIndexName, "orphan/" + owner.Namespace))
        {
            if (orphan.IsDeleting || !selector.Matches(orphan.Labels) || !mayAdopt(orphan))
            {
                continue;
            }

            if (!asked)
            {
                KubeObject fresh = await client.GetAsync(ownerResource, owner.Key, cancellation);
                if (fresh.Uid != owner.Uid || fresh.IsDeleting)
                {
                    return owned;
                }

                asked = true;
            }

            if (await AdoptAsync(owner, orphan, extraFinalizer, cancellation))
            {
                owned.Add(orphan);
            }
        }

        return owned;
    }

    private async Task<bool> AdoptAsync(KubeObject owner, KubeObject orphan, string extraFinalizer, CancellationToken cancellation)
    {
        JsonObject metadata = new() { ["uid"] = orphan.Uid, ["ownerReferences"] = new JsonArray(Owners.ControllerReference(owner)) };
        if (extraFinalizer.Length > 0)
        {
            metadata["finalizers"] = new JsonArray(extraFinalizer);
        }

        try
        {
            await client.PatchAsync(childResource, orphan.Key, PatchKind.Strategic, new JsonObject { ["metadata"] = metadata }, cancellation);
            return true;
        }
        catch (StatusException e) when (e.IsNotFound || e.Status.Reason == "Invalid" || e.IsConflict)
        {
            // Gone, replaced by another of the same name, or adopted by someone quicker: none of them is ours.
            return false;
        }
    }

    private async Task ReleaseAsync(KubeObject owner, KubeObject child, CancellationToken cancellation)
    {
        JsonObject patch = new()
        {
            ["metadata"] = new JsonObject
            {
                ["uid"] = child.Uid, ["ownerReferences"] = new JsonArray(new JsonObject { ["$patch"] = "delete", ["uid"] = owner.Uid }),
            },
        };
        try
        {
            await client.PatchAsync(childResource, child.Key, PatchKind.Strategic, patch, cancellation);
        }
        catch (StatusException e) when (e.IsNotFound || e.Status.Reason == "Invalid" || e.IsConflict)
        {
            // Gone, or released by another worker.
        }
    }
}
