using System.Text.Json;
using System.Text.Json.Nodes;
using Kapell.ApiServer.Http;
using Kapell.Machinery;

namespace Kapell.ApiServer.Admission;

/// <summary>Turns a priority class into the pod's numbers (upstream: plugin/pkg/admission/priority).</summary>
internal sealed class PriorityAdmission(Func<IEnumerable<KubeObject>> classes, Func<ObjectKey, CancellationToken, ValueTask<KubeObject?>> find) : IAdmission
{
    private const string PreemptionDefault = "PreemptLowerPriority";

    public bool Handles(AdmissionRequest request) =>
        request.Subresource.Length == 0
        && request.Operation is AdmissionOperation.Create or AdmissionOperation.Update
        && (AdmissionErrors.Is(request, "", "pods") || AdmissionErrors.Is(request, "scheduling.k8s.io", "priorityclasses"));

    public async ValueTask MutateAsync(AdmissionRequest request, CancellationToken cancel)
    {
        if (!AdmissionErrors.Is(request, "", "pods") || request.Subresource.Length > 0)
        {
            return;
        }

        JsonObject spec = request.Object!.ObjectOrNew("spec");
        if (request.Operation == AdmissionOperation.Update)
        {
            KeepOld(spec, request.OldObject.Object("spec"));
            return;
        }

        string name = spec.Text("priorityClassName");
        long priority = 0;
        string preemption = PreemptionDefault;
        KubeObject? chosen;
        if (name.Length == 0)
        {
            // The lowest global default wins should there be two (upstream: getDefaultPriorityClass).
            chosen = classes().Where(c => c.Root.Bool("globalDefault")).MinBy(c => c.Root.Long("value"));
            if (chosen is not null)
            {
                spec["priorityClassName"] = chosen.Name;
            }
        }
        else
        {
            chosen = await find(new ObjectKey("", name), cancel)
                ?? throw AdmissionErrors.Forbidden(request, $"no PriorityClass with name {name} was found");
        }

        if (chosen is not null)
        {
            priority = chosen.Root.Long("value");
            preemption = chosen.Root.Text("preemptionPolicy") is { Length: > 0 } own ? own : PreemptionDefault;
        }

        if (spec["priority"].AsLong() is { } given && given != priority)
        {
            throw AdmissionErrors.Forbidden(
                request, $"the integer value of priority ({given}) must not be provided in pod spec; priority admission controller computed {priority} from the given PriorityClass name");
        }

        if (spec.Text("preemptionPolicy") is { Length: > 0 } policy && policy != preemption)
        {
            throw AdmissionErrors.Forbidden(
                request, $"the string value of PreemptionPolicy ({policy}) must not be provided in pod spec; priority admission controller computed {preemption} from the given PriorityClass name");
        }

        spec["priority"] = priority;
        spec["preemptionPolicy"] = preemption;
    }

    public ValueTask ValidateAsync(AdmissionRequest request, CancellationToken cancel)
    {
        if (!AdmissionErrors.Is(request, "scheduling.k8s.io", "priorityclasses") || !request.Object.Bool("globalDefault"))
        {
            return ValueTask.CompletedTask;
        }

        string own = request.Object.Object("metadata").Text("name");
        KubeObject? other = classes().FirstOrDefault(c => c.Root.Bool("globalDefault"));
        if (other is not null && (request.Operation == AdmissionOperation.Create || other.Name != own))
        {
            throw AdmissionErrors.Forbidden(request, $"PriorityClass {other.Name} is already marked as default. Only one default can exist");
        }

        return ValueTask.CompletedTask;
    }

    private static void KeepOld(JsonObject spec, JsonObject? old)
    {
        if (spec["priority"] is null && old?["priority"] is { } priority)
        {
            spec["priority"] = priority.DeepClone();
        }

        if (spec["preemptionPolicy"] is null && old?["preemptionPolicy"] is { } policy)
        {
            spec["preemptionPolicy"] = policy.DeepClone();
        }
    }
}
