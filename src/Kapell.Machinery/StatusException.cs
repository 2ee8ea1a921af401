using System.Text.Json.Nodes;

namespace Kapell.Machinery;

/// <summary>One cause in <see cref="Status.Causes"/>: reason, message and the field's path.</summary>
public sealed record StatusCause(string Reason, string Message, string Field);

/// <summary>
/// Kubernetes' answer to a request that has no object to give (metav1.Status): HTTP code, CamelCase reason, message, details.
/// The factories carry upstream's words (apimachinery api/errors).
/// </summary>
public sealed record Status
{
    public required int Code { get; init; }

    /// <summary><c>NotFound</c>, <c>AlreadyExists</c>, <c>Conflict</c>, <c>Invalid</c>, ...; empty for success.</summary>
    public required string Reason { get; init; }

    public required string Message { get; init; }

    public string Name { get; init; } = "";

    public string Group { get; init; } = "";

    /// <summary>The <c>details.kind</c>: upstream puts the plural resource here for most errors and the kind for Invalid.</summary>
    public string Kind { get; init; } = "";

    public string Uid { get; init; } = "";

    public int RetryAfterSeconds { get; init; }

    /// <summary><c>metadata.continue</c>: how an expired chunked list may go on.</summary>
    public string Continue { get; init; } = "";

    public IReadOnlyList<StatusCause> Causes { get; init; } = [];

    public bool IsFailure => Code is < 200 or > 206;

    public static Status NotFound(GroupResource resource, string name) => new()
    {
        Code = 404, Reason = "NotFound", Message = $"{resource} \"{name}\" not found", Group = resource.Group, Kind = resource.Resource, Name = name,
    };

    public static Status AlreadyExists(GroupResource resource, string name) => new()
    {
        Code = 409, Reason = "AlreadyExists", Message = $"{resource} \"{name}\" already exists", Group = resource.Group, Kind = resource.Resource, Name = name,
    };

    public static Status Conflict(GroupResource resource, string name, string why) => new()
    {
        Code = 409, Reason = "Conflict", Message = $"Operation cannot be fulfilled on {resource} \"{name}\": {why}", Group = resource.Group, Kind = resource.Resource, Name = name,
    };

    /// <summary>The usual optimistic-lock conflict.</summary>
    public static Status ObjectModified(GroupResource resource, string name) =>
        Conflict(resource, name, "the object has been modified; please apply your changes to the latest version and try again");

    public static Status Forbidden(GroupResource resource, string name, string why) => new()
    {
        Code = 403, Reason = "Forbidden", Group = resource.Group, Kind = resource.Resource, Name = name,
        Message = resource.Resource.Length == 0 ? $"forbidden: {why}"
            : name.Length == 0 ? $"{resource} is forbidden: {why}"
            : $"{resource} \"{name}\" is forbidden: {why}",
    };

    public static Status Unauthorized(string message = "Unauthorized") => new() { Code = 401, Reason = "Unauthorized", Message = message };

    public static Status BadRequest(string message) => new() { Code = 400, Reason = "BadRequest", Message = message };

    public static Status InternalError(string message) => new()
    {
        Code = 500, Reason = "InternalError", Message = $"Internal error occurred: {message}", Causes = [new StatusCause("", message, "")],
    };

    public static Status MethodNotSupported(GroupResource resource, string action) => new()
    {
        Code = 405, Reason = "MethodNotAllowed", Message = $"{action} is not supported on resources of kind \"{resource}\"", Group = resource.Group, Kind = resource.Resource,
    };

    public static Status Expired(string message) => new() { Code = 410, Reason = "Expired", Message = message };

    public static Status TooLarge(string message) => new() { Code = 413, Reason = "RequestEntityTooLarge", Message = message };

    public static Status UnsupportedMediaType(string message) => new() { Code = 415, Reason = "UnsupportedMediaType", Message = message };

    public static Status NotAcceptable(string message) => new() { Code = 406, Reason = "NotAcceptable", Message = message };

    public static Status TooManyRequests(string message, int retryAfterSeconds) => new()
    {
        Code = 429, Reason = "TooManyRequests", Message = message, RetryAfterSeconds = retryAfterSeconds,
    };

    public static Status ServiceUnavailable(string message) => new() { Code = 503, Reason = "ServiceUnavailable", Message = message };

    public static Status Timeout(string message, int retryAfterSeconds) => new()
    {
        Code = 504, Reason = "Timeout", Message = "Timeout: " + message, RetryAfterSeconds = retryAfterSeconds,
    };

    /// <summary>422: the object is well-formed but wrong; one cause a field error. One error stands bare in the message, several in brackets.</summary>
    public static Status Invalid(GroupKind kind, string name, IReadOnlyList<FieldError> errors)
    {
        string[] texts = [.. errors.Select(e => e.ToString()).Distinct(StringComparer.Ordinal)];
        string list = texts.Length switch { 0 => "<nil>", 1 => texts[0], _ => "[" + string.Join(", ", texts) + "]" };
        return new()
        {
            Code = 422, Reason = "Invalid", Message = $"{kind} \"{name}\" is invalid: {list}", Group = kind.Group, Kind = kind.Kind, Name = name,
            Causes = [.. errors.Select(e => new StatusCause(e.Reason, e.Body, e.Path.ToString()))],
        };
    }

    /// <summary>The document as it goes over the wire.</summary>
    public JsonObject ToJson()
    {
        JsonObject json = new()
        {
            ["kind"] = "Status", ["apiVersion"] = "v1", ["metadata"] = new JsonObject(), ["status"] = IsFailure ? "Failure" : "Success",
        };
        AddText(json["metadata"]!.AsObject(), "continue", Continue);
        if (Message.Length > 0)
        {
            json["message"] = Message;
        }

        if (Reason.Length > 0)
        {
            json["reason"] = Reason;
        }

        JsonObject details = new();
        AddText(details, "name", Name);
        AddText(details, "group", Group);
        AddText(details, "kind", Kind);
        AddText(details, "uid", Uid);
        if (Causes.Count > 0)
        {
            JsonArray causes = [];
            foreach (StatusCause cause in Causes)
            {
                JsonObject one = new();
                AddText(one, "reason", cause.Reason);
                AddText(one, "message", cause.Message);
                AddText(one, "field", cause.Field);
                causes.Add((JsonNode)one);
            }

            details["causes"] = causes;
        }

        if (RetryAfterSeconds > 0)
        {
            details["retryAfterSeconds"] = RetryAfterSeconds;
        }

        if (details.Count > 0)
        {
            json["details"] = details;
        }

        json["code"] = Code;
        return json;
    }

    private static void AddText(JsonObject json, string name, string value)
    {
        if (value.Length > 0)
        {
            json[name] = value;
        }
    }
}

/// <summary>A request ends in this <see cref="Status"/>: thrown in the API server, and by the client when a server answers with one.</summary>
public sealed class StatusException(Status status) : Exception(status.Message)
{
    public Status Status { get; } = status;

    public int Code => Status.Code;

    public bool IsNotFound => Status.Reason == "NotFound";

    public bool IsConflict => Status.Reason == "Conflict";

    public bool IsAlreadyExists => Status.Reason == "AlreadyExists";

    /// <summary>410: the resourceVersion is too old; list again.</summary>
    public bool IsGone => Status.Code == 410;
}
