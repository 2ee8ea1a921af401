using System.Text.Json.Nodes;
using Kapell.Machinery;

namespace Kapell.ApiServer.Registry.Resources;

/// <summary>Events, of both groups: those with an eventTime answer to the newer, stricter rules (core validation: events.go).</summary>
internal static class EventValidation
{
    private const int NameMax = 128;
    private const int MessageMax = 1024;
    private const string NotOurs = "does not match event.namespace";

    public static List<FieldError> Core(JsonObject e) => Event(e, "involvedObject", "message", "reportingComponent");

    public static List<FieldError> Events(JsonObject e)
    {
        List<FieldError> errors = Event(e, "regarding", "note", "reportingController");
        if (!e.Has("eventTime") && !e.Has("deprecatedFirstTimestamp"))
        {
            errors.Add(FieldError.Required(FieldPath.New("eventTime"), ""));
        }

        return errors;
    }

    private static List<FieldError> Event(JsonObject e, string about, string message, string controllerField)
    {
        List<FieldError> errors = [];
        string mine = e.Obj("metadata").Text("namespace");
        string theirs = e.Obj(about).Text("namespace");
        // Field paths are the internal type's, whatever the group (upstream).
        FieldPath namespacePath = FieldPath.New("involvedObject", "namespace");
        bool modern = e.Has("eventTime");
        bool fits = theirs.Length > 0 ? mine == theirs : mine is "" or "default" || (modern && mine == "kube-system");
        if (!fits)
        {
            errors.Add(FieldError.Invalid(namespacePath, theirs, NotOurs));
        }

        if (!modern)
        {
            return errors;
        }

        string controller = e.Text(controllerField);
        Validating.RequiredName(errors, FieldPath.New("reportingController"), controller, Names.IsQualifiedName);
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
