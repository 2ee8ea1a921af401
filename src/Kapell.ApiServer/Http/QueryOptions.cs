using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using Kapell.ApiServer.Verbs;
using Kapell.Machinery;
using Microsoft.AspNetCore.Http;

namespace Kapell.ApiServer.Http;

/// <summary>What a list or watch asks for (metav1.ListOptions).</summary>
internal sealed record ListOptions
{
    public LabelSelector Labels { get; init; } = LabelSelector.Everything;

    public FieldSelector Fields { get; init; } = FieldSelector.Everything;

    public string ResourceVersion { get; init; } = "";

    public string ResourceVersionMatch { get; init; } = "";

    public long Limit { get; init; }

    public string Continue { get; init; } = "";

    public long? TimeoutSeconds { get; init; }

    public bool AllowWatchBookmarks { get; init; }

    public bool? SendInitialEvents { get; init; }

    /// <exception cref="StatusException">400 or 422 in upstream's words.</exception>
    public static ListOptions Parse(IQueryCollection query, bool watch)
    {
        ListOptions options = new()
        {
            Labels = LabelSelector.Parse(query["labelSelector"].FirstOrDefault() ?? ""),
            Fields = FieldSelector.Parse(query["fieldSelector"].FirstOrDefault() ?? ""),
            ResourceVersion = query["resourceVersion"].FirstOrDefault() ?? "",
            ResourceVersionMatch = query["resourceVersionMatch"].FirstOrDefault() ?? "",
            Limit = QueryOptions.Number(query, "limit") ?? 0,
            Continue = query["continue"].FirstOrDefault() ?? "",
            TimeoutSeconds = QueryOptions.Number(query, "timeoutSeconds"),
            AllowWatchBookmarks = RequestInfo.IsTrue(query["allowWatchBookmarks"].FirstOrDefault()),
            SendInitialEvents = query.ContainsKey("sendInitialEvents") ? RequestInfo.IsTrue(query["sendInitialEvents"].FirstOrDefault()) : null,
        };
        options.Validate(watch);
        return options;
    }

    /// <summary>The resourceVersion as a number; null when none is given.</summary>
    public long? Revision =>
        ResourceVersion.Length == 0 ? null
        : ulong.TryParse(ResourceVersion, NumberStyles.None, CultureInfo.InvariantCulture, out ulong n) && n <= long.MaxValue ? (long)n
        : throw new StatusException(Status.BadRequest(
            $"Invalid value for resourceVersion: \"{ResourceVersion}\": strconv.ParseUint: parsing \"{ResourceVersion}\": invalid syntax"));

    // apimachinery: internalversion/validation.go
    private void Validate(bool watch)
    {
        List<FieldError> errors = [];
        FieldPath match = FieldPath.New("resourceVersionMatch");
        if (watch)
        {
            ValidateWatch(match, errors);
        }
        else
        {
            ValidateMatch(match, errors);
            if (SendInitialEvents is not null)
            {
                errors.Add(FieldError.Forbidden(FieldPath.New("sendInitialEvents"), "sendInitialEvents is forbidden for list"));
            }
        }

        if (errors.Count > 0)
        {
            throw new StatusException(Status.Invalid(new GroupKind("meta.k8s.io", "ListOptions"), "", errors));
        }
    }

    private void ValidateWatch(FieldPath match, List<FieldError> errors)
    {
        if (SendInitialEvents is not null && ResourceVersionMatch != "NotOlderThan")
        {
            errors.Add(FieldError.Forbidden(match, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"));
        }

        if (ResourceVersionMatch.Length == 0)
        {
            return;
        }

        if (SendInitialEvents is null)
        {
            errors.Add(FieldError.Forbidden(match, "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"));
        }

        if (ResourceVersionMatch != "NotOlderThan")
        {
            errors.Add(FieldError.NotSupported(match, ResourceVersionMatch, ["NotOlderThan"]));
        }

        if (Continue.Length > 0)
        {
            errors.Add(FieldError.Forbidden(match, "resourceVersionMatch is forbidden when continue is provided"));
        }
    }

    private void ValidateMatch(FieldPath match, List<FieldError> errors)
    {
        if (ResourceVersionMatch.Length == 0)
        {
            return;
        }

        if (ResourceVersion.Length == 0)
        {
            errors.Add(FieldError.Forbidden(match, "resourceVersionMatch is forbidden unless resourceVersion is provided"));
        }

        if (Continue.Length > 0)
        {
            errors.Add(FieldError.Forbidden(match, "resourceVersionMatch is forbidden when continue is provided"));
        }

        if (ResourceVersionMatch is not ("Exact" or "NotOlderThan"))
        {
            errors.Add(FieldError.NotSupported(match, ResourceVersionMatch, ["Exact", "NotOlderThan", ""]));
        }

        if (ResourceVersionMatch == "Exact" && ResourceVersion == "0")
        {
            errors.Add(FieldError.Forbidden(match, "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\""));
        }
    }
}

/// <summary>The options of writes, from the query and, for deletes, the body.</summary>
internal static class QueryOptions
{
    public static long? Number(IQueryCollection query, string name)
    {
        string? text = query[name].FirstOrDefault();
        if (string.IsNullOrEmpty(text))
        {
            return null;
        }

        return long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long number)
            ? number
            : throw new StatusException(Status.BadRequest($"strconv.ParseInt: parsing \"{text}\": invalid syntax"));
    }

    /// <exception cref="StatusException">422 for a value other than All.</exception>
    public static bool DryRun(IEnumerable<string?> values, string optionsKind)
    {
        string[] given = [.. values.Where(v => !string.IsNullOrEmpty(v))!];
        if (given.Any(v => v != "All"))
        {
            throw new StatusException(Status.Invalid(new GroupKind("meta.k8s.io", optionsKind), "",
                [FieldError.NotSupported(FieldPath.New("dryRun"), new JsonArray([.. given.Select(v => (JsonNode)v)]), ["All"])]));
        }

        return given.Length > 0;
    }

    public static FieldValidation Validation(IQueryCollection query, string optionsKind) => query["fieldValidation"].FirstOrDefault() switch
    {
        null or "" or "Warn" => FieldValidation.Warn,
        "Ignore" => FieldValidation.Ignore,
        "Strict" => FieldValidation.Strict,
        { } other => throw new StatusException(Status.Invalid(new GroupKind("meta.k8s.io", optionsKind), "",
            [FieldError.NotSupported(FieldPath.New("fieldValidation"), other, ["Ignore", "Strict", "Warn"])])),
    };

    /// <summary>The manager named, or the first word of the user agent (upstream: managerOrUserAgent).</summary>
    public static string FieldManager(HttpRequest request, string optionsKind)
    {
        string manager = request.Query["fieldManager"].FirstOrDefault() ?? "";
        List<FieldError> errors = [];
        ObjectMetaValidation.ValidateFieldManager(manager, FieldPath.New("fieldManager"), errors);
        if (errors.Count > 0)
        {
            throw new StatusException(Status.Invalid(new GroupKind("meta.k8s.io", optionsKind), "", errors));
        }

        if (manager.Length > 0)
        {
            return manager;
        }

        string agent = new([.. request.Headers.UserAgent.ToString().Split('/')[0].Where(c => !char.IsControl(c)).Take(128)]);
        return agent.Length > 0 ? agent : "unknown";
    }

    /// <summary>From the body when there is one, otherwise from the query (upstream: delete.go).</summary>
    public static (DeleteOptions Options, bool DryRun) Delete(byte[] body, IQueryCollection query)
    {
        if (body.Length == 0)
        {
            string? orphan = query["orphanDependents"].FirstOrDefault();
            return (new DeleteOptions
            {
                GracePeriodSeconds = Number(query, "gracePeriodSeconds"),
                PropagationPolicy = query["propagationPolicy"].FirstOrDefault() is { Length: > 0 } p ? p : null,
                OrphanDependents = orphan is null ? null : RequestInfo.IsTrue(orphan),
            }, DryRun(query["dryRun"], "DeleteOptions"));
        }

        JsonElement json;
        try
        {
            json = JsonDocument.Parse(body, new JsonDocumentOptions { MaxDepth = 32 }).RootElement;
        }
        catch (JsonException e)
        {
            throw new StatusException(Status.BadRequest("couldn't get version/kind; json parse error: " + e.Message));
        }

        if (json.Text("kind") is { Length: > 0 } kind && kind != "DeleteOptions")
        {
            throw new StatusException(Status.BadRequest("decoded object cannot be converted to DeleteOptions"));
        }

        JsonElement preconditions = json.Get("preconditions");
        return (new DeleteOptions
        {
            GracePeriodSeconds = json.Has("gracePeriodSeconds") ? json.Long("gracePeriodSeconds") : null,
            PropagationPolicy = json.Has("propagationPolicy") ? json.Text("propagationPolicy") : null,
            OrphanDependents = json.Has("orphanDependents") ? json.Bool("orphanDependents") : null,
            Preconditions = preconditions.ValueKind == JsonValueKind.Object
                ? new Preconditions(
                    preconditions.Has("uid") ? preconditions.Text("uid") : null,
                    preconditions.Has("resourceVersion") ? preconditions.Text("resourceVersion") : null)
                : null,
        }, DryRun(json.Items("dryRun").Select(v => v.GetString()), "DeleteOptions"));
    }
}
