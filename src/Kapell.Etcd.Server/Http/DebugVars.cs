using System.Text.Json;
using Kapell.Etcd.Server.Hosting;
using Kapell.Raft;
using Microsoft.AspNetCore.Http;

namespace Kapell.Etcd.Server.Http;

/// <summary>/debug/vars: what Go's package expvar shows, as far as there is the same here. etcd: etcdhttp/debug.go, raft.go (raft.status)</summary>
internal static class DebugVars
{
    public static async Task ServeAsync(HttpContext context, ReplicaHost host)
    {
        RaftStatus status = await host.OwnAsync(static replica => replica.Raft.Status(), context.RequestAborted);
        (Term term, LogIndex committed, MemberId leader) = await host.OwnAsync(
            static replica => (replica.Raft.Term, replica.Raft.Committed, replica.Raft.Leader), context.RequestAborted);
        context.Response.ContentType = "application/json; charset=utf-8";
        await using Utf8JsonWriter json = new(context.Response.BodyWriter);
        json.WriteStartObject();

        // Only the program: its arguments may carry passwords, and /debug/vars is open to every client.
        json.WriteStartArray("cmdline");
        json.WriteStringValue("etcd");
        json.WriteEndArray();
        json.WriteStartObject("memstats");
        json.WriteNumber("Alloc", GC.GetTotalMemory(forceFullCollection: false));
        json.WriteNumber("TotalAlloc", GC.GetTotalAllocatedBytes());
        json.WriteNumber("Sys", Environment.WorkingSet);
        json.WriteNumber("NumGC", GC.CollectionCount(0));
        json.WriteEndObject();
        json.WriteStartObject("raft.status");
        json.WriteString("id", $"{host.Replica.Raft.Id.Value:x}");
        json.WriteNumber("term", term.Value);
        json.WriteNumber("commit", committed.Value);
        json.WriteNumber("applied", host.Replica.AppliedPosition.Index.Value);
        json.WriteString("lead", $"{leader.Value:x}");
        json.WriteStartObject("progress");
        foreach (MemberProgress member in status.Members)
        {
            json.WriteStartObject($"{member.Id.Value:x}");
            json.WriteNumber("match", member.Match.Value);
            json.WriteEndObject();
        }

        json.WriteEndObject();
        json.WriteEndObject();
        json.WriteEndObject();
    }
}
