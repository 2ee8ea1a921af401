using System.Text;
using Kapell.Machinery;

namespace Kapell.Kube.Tests.Controllers;

internal static class Doc
{
    public static KubeObject Of(string json) => new(Encoding.UTF8.GetBytes(json));

    public static KubeObject Pod(string name, string phase = "Running", bool ready = true, string more = "", string meta = "") => Of($$"""
        {"apiVersion":"v1","kind":"Pod","metadata":{"name":"{{name}}","namespace":"default","uid":"uid-{{name}}","creationTimestamp":"2026-01-01T00:00:00Z"{{meta}}},
         "spec":{"nodeName":"n1"{{more}}},
         "status":{"phase":"{{phase}}","conditions":[{"type":"Ready","status":"{{(ready ? "True" : "False")}}","lastTransitionTime":"2026-01-01T00:00:00Z"}] } }
        """);
}
