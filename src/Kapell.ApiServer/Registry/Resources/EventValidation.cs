using System.Text.Json.Nodes;
using Kapell.Machinery;

namespace Kapell.ApiServer.Registry.Resources;

/// <summary>Events, of both groups: those with an eventTime answer to the newer, stricter rules (core validation: events.go).</summary>
internal static class EventValidation
{
    private const int NameMax = 128;
    private const int MessageMax = 1024;
    private const string Unset = "needs to be unset";
    private const string NotOurs = "does not match event.namespace";

    /// <summary>The internal type's names of fields, which paths carry whatever the group.</summary>
    private static readonly (string Served, string Internal)[] Frozen =
    [
        ("regarding", "involvedObject"), ("reason", "reason"), ("note", "message"), ("deprecatedSource", "source"),
        ("deprecatedFirstTimestamp", "firstTimestamp"), ("deprecatedLastTimestamp", "lastTimestamp"), ("deprecatedCount", "count"), ("type", "type"),
        ("eventTime", "eventTime"), ("action", "action"), ("related", "related"), ("reportingController", "reportingController"),
        ("reportingInstance", "reportingInstance"),
    ];

    public static List<FieldError> Core(JsonObject e) => Event(e, "involvedObject", "message", "reportingComponent");

    public static List<FieldError> Events(JsonObject e) => Event(e, "regarding", "note", "reportingController");

    /// <summary>What a new event of events.k8s.io must be beside: none of the fields of old.</summary>
    public static List<FieldError> EventsCreate(JsonObject e)
    {
        List<FieldError> errors = [];
        Series(errors, e);
        if (!e.Has("eventTime"))
        {
            errors.Add(FieldError.Required(FieldPath.New("eventTime"), ""));
        }

        if (e.Text("type") is not ("Normal" or "Warning"))
        {
            errors.Add(FieldError.Invalid(FieldPath.New("type"), "", "has invalid value: " + e.Text("type")));
        }

        foreach ((string field, string shown) in new[] { ("deprecatedFirstTimestamp", "firstTimestamp"), ("deprecatedLastTimestamp", "lastTimestamp") })
        {
            if (e.Has(field))
            {
                errors.Add(FieldError.Invalid(FieldPath.New(shown), "", Unset));
            }
        }

        if (e.Long("deprecatedCount") is not (null or 0))
        {
            errors.Add(FieldError.Invalid(FieldPath.New("count"), "", Unset));
        }

        if (e.Obj("deprecatedSource") is { Count: > 0 })
        {
            errors.Add(FieldError.Invalid(FieldPath.New("source"), "", Unset));
        }

        return errors;
    }

    /// <summary>Of an event of events.k8s.io only the series goes on.</summary>
    public static List<FieldError> EventsUpdate(JsonObject updated, JsonObject old)
    {
        List<FieldError> errors = [];
        if (!updated["series"].SameAs(old["series"]))
        {
            Series(errors, updated);
        }

        foreach ((string served, string shown) in Frozen)
        {
            Validating.Immutable(errors, FieldPath.New(shown), updated[served], old[served]);
        }

        return errors;
    }

    private static void Series(List<FieldError> errors, JsonObject e)
    {
        if (e.Obj("series") is not { } series)
        {
            return;
        }

        if ((series.Long("count") ?? 0) < 2)
        {
            errors.Add(FieldError.Invalid(FieldPath.New("series.count"), "", "should be at least 2"));
        }

        if (!series.Has("lastObservedTime"))
        {
            errors.Add(FieldError.Required(FieldPath.New("series.lastObservedTime"), ""));
        }
    }

    private static List<FieldError> Event(JsonObject e, string about, string message, string controllerField)
    {
        List<FieldError> errors = [];
        string mine = e.Obj("metadata").Text("namespace");
        string theirs = e.Obj(about).Text("namespace");
        bool modern = e.Has("eventTime");
        bool fits = modern ? theirs.Length > 0 || mine is "default" or "kube-system"
            : theirs.Length > 0 ? mine == theirs
            : mine is "" or "default";
        if (!fits)
        {
            errors.Add(FieldError.Invalid(FieldPath.New("involvedObject", "namespace"), theirs, NotOurs));
        }

        if (!modern)
        {
            return errors;
        }

        string controller = e.Text(controllerField);
        FieldPath controllerPath = FieldPath.New("reportingController");
        if (controller.Length == 0)
        {
            errors.Add(FieldError.Required(controllerPath, ""));
        }

        Validating.Messages(errors, controllerPath, controller, Names.IsQualifiedName(controller));
        Text(errors, e, "reportingInstance");
        Text(errors, e, "action");
        Text(errors, e, "reason");
        if (e.Text(message).Length > MessageMax)
        {
            errors.Add(FieldError.Invalid(FieldPath.New("message"), "", $"can have at most {MessageMax} characters"));
        }

        return errors;
    }

    private static void Text(List<FieldError> errors, JsonObject e, string field)
    {
        string value = e.Text(field);
        if (value.Length == 0)
        {
            errors.Add(FieldError.Required(FieldPath.New(field), ""));
        }
        else if (value.Length > NameMax)
        {
            errors.Add(FieldError.Invalid(FieldPath.New(field), "", $"can have at most {NameMax} characters"));
        }
    }
}
