using Kapell.ApiServer.Http;

namespace Kapell.ApiServer.Verbs;

/// <summary>Runs the plugins in order, and their undoing when the request fails after all.</summary>
internal sealed class AdmissionChain(IReadOnlyList<IAdmission> plugins)
{
    public async Task MutateAsync(AdmissionRequest request, CancellationToken cancel)
    {
        foreach (IAdmission plugin in plugins)
        {
            if (plugin.Handles(request))
            {
                await plugin.MutateAsync(request, cancel);
            }
        }
    }

    public async Task ValidateAsync(AdmissionRequest request, CancellationToken cancel)
    {
        foreach (IAdmission plugin in plugins)
        {
            if (plugin.Handles(request))
            {
                await plugin.ValidateAsync(request, cancel);
            }
        }
    }

    /// <summary>Gives back what the plugins took, newest first.</summary>
    public static async Task UndoAsync(AdmissionRequest request)
    {
        for (int i = request.OnFailure.Count - 1; i >= 0; i--)
        {
            // The caller may have gone away already; what was taken is given back all the same.
            await request.OnFailure[i](CancellationToken.None);
        }

        request.OnFailure.Clear();
    }
}
