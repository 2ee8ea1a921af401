using System.Text.Json.Nodes;
using Xunit;

namespace Kapell.Conformance.Kube;

/// <summary>Create, read, update and what is said when that cannot be.</summary>
public abstract class ReadWriteTests(ClusterFixture cluster)
{
    private const string Modified = "the object has been modified; please apply your changes to the latest version and try again";
    private const string Undeterminable = "the name of the object (a based on URL) was undeterminable: name must be provided";
    private readonly ApiClient _api = cluster.Admin;

    [Fact]
    public async Task A_created_object_gets_the_systems_metadata_and_nothing_from_the_client()
    {
        string maps = await Maps();
        Answer made = (await _api.Post(maps, """
            {"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","uid":"mine","creationTimestamp":"2001-01-01T00:00:00Z",
             "deletionTimestamp":"2001-01-01T00:00:00Z","deletionGracePeriodSeconds":5,"selfLink":"/x","generation":7},"data":{"k":"v"}}
            """)).Is(201);
        Assert.Matches("^[0-9a-f]{8}-[0-9a-f-]{27}$", made["metadata.uid"]);
        Assert.Matches("^[1-9][0-9]*$", made.Version);
        Assert.StartsWith("202", made["metadata.creationTimestamp"], StringComparison.Ordinal);
        Assert.Null(made.At("metadata.deletionTimestamp"));
        Assert.Null(made.At("metadata.deletionGracePeriodSeconds"));
        Assert.Null(made.At("metadata.selfLink"));
        Assert.Equal("v", made["data.k"]);
        Answer read = (await _api.Get(maps + "/a")).Is(200);
        Assert.True(JsonNode.DeepEquals(made.Json, read.Json), read.Body);
    }

    [Fact]
    public async Task A_name_is_taken_once()
    {
        string maps = await Maps();
        (await _api.Post(maps, Map("a"))).Is(201);
        (await _api.Post(maps, Map("a"))).Fails(409, "AlreadyExists", "configmaps \"a\" already exists").About("configmaps", "", "a");
        (await _api.Get(maps + "/b")).Fails(404, "NotFound", "configmaps \"b\" not found").About("configmaps", "", "b");
        (await _api.Put(maps + "/b", Map("b"))).Fails(404, "NotFound", "configmaps \"b\" not found").About("configmaps", "", "b");
        (await _api.Delete(maps + "/b")).Fails(404, "NotFound", "configmaps \"b\" not found").About("configmaps", "", "b");
        (await _api.Patch(maps + "/b", ApiClient.MergePatch, "{}")).Fails(404, "NotFound", "configmaps \"b\" not found");
    }

    [Fact]
    public async Task Kinds_that_allow_it_are_created_by_an_update()
    {
        string leases = $"/apis/coordination.k8s.io/v1/namespaces/{await cluster.NewNamespace()}/leases";
        string lease = """{"apiVersion":"coordination.k8s.io/v1","kind":"Lease","metadata":{"name":"a"}}""";
        Answer made = (await _api.Put(leases + "/a", lease)).Is(201);
        Assert.NotEqual("", made["metadata.uid"]);
        (await _api.Put(leases + "/a", lease)).Fails(422, "Invalid",
            "leases.coordination.k8s.io \"a\" is invalid: metadata.resourceVersion: Invalid value: 0: must be specified for an update")
            .About("leases", "coordination.k8s.io", "a")
            .Because("FieldValueInvalid|metadata.resourceVersion|Invalid value: 0: must be specified for an update");
    }

    [Fact]
    public async Task An_update_of_another_state_is_a_conflict_and_one_without_a_version_is_not()
    {
        string maps = await Maps();
        Answer first = (await _api.Post(maps, Map("a", "1"))).Is(201);
        Answer second = (await _api.Put(maps + "/a", Map("a", "2"))).Is(200);
        Assert.NotEqual(first.Version, second.Version);
        string stale = Map("a", "3").Replace("\"name\":\"a\"", $"\"name\":\"a\",\"resourceVersion\":\"{first.Version}\"", StringComparison.Ordinal);
        (await _api.Put(maps + "/a", stale)).Fails(409, "Conflict", $"Operation cannot be fulfilled on configmaps \"a\": {Modified}").About("configmaps", "", "a");
        Assert.Equal("2", (await _api.Get(maps + "/a"))["data.k"]);
        (await _api.Put(maps + "/a", stale.Replace(first.Version, second.Version, StringComparison.Ordinal))).Is(200);
        string other = Map("a", "4").Replace("\"name\":\"a\"", "\"name\":\"a\",\"uid\":\"00000000-0000-0000-0000-000000000000\"", StringComparison.Ordinal);
        Answer refused = (await _api.Put(maps + "/a", other)).Is(409);
        Assert.Contains("StorageError: invalid object, Code: 4, Key: /registry/configmaps/", refused["message"], StringComparison.Ordinal);
        Assert.Contains("AdditionalErrorMsg: Precondition failed: UID in precondition: 00000000-0000-0000-0000-000000000000", refused["message"], StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_update_that_changes_nothing_keeps_the_version()
    {
        string maps = await Maps();
        Answer made = (await _api.Post(maps, Map("a"))).Is(201);
        Answer same = (await _api.Put(maps + "/a", made.Body)).Is(200);
        Assert.Equal(made.Version, same.Version);
    }

    [Fact]
    public async Task A_version_on_a_new_object_is_refused()
    {
        string maps = await Maps();
        Answer refused = (await _api.Post(maps, """{"metadata":{"name":"a","resourceVersion":"7"}}""")).Is(500);
        Assert.Equal("resourceVersion should not be set on objects to be created", refused["message"]);
    }

    [Fact]
    public async Task The_body_must_agree_with_the_url()
    {
        string maps = await Maps();
        string ns = maps.Split('/')[4];
        (await _api.Post(maps, Map("a"))).Is(201);
        (await _api.Put(maps + "/a", Map("b"))).Fails(400, "BadRequest", "the name of the object (b) does not match the name on the URL (a)");
        (await _api.Put(maps + "/a", """{"apiVersion":"v1","kind":"ConfigMap","metadata":{}}""")).Fails(400, "BadRequest", Undeterminable);
        (await _api.Post(maps, """{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"b","namespace":"elsewhere"}}"""))
            .Fails(400, "BadRequest", "the namespace of the provided object does not match the namespace sent on the request");
        (await _api.Put(maps + "/a", """{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","namespace":"elsewhere"}}"""))
            .Fails(400, "BadRequest", $"the namespace of the object (elsewhere) does not match the namespace on the request ({ns})");
        (await _api.Post(maps, """{"apiVersion":"v1","kind":"Pod","metadata":{"name":"b"}}""")).Fails(400, "BadRequest",
            "Pod in version \"v1\" cannot be handled as a ConfigMap: converting (v1.Pod) to (core.ConfigMap): unknown conversion");
        (await _api.Post(maps, """{"apiVersion":"v1","kind":"Nonsense","metadata":{"name":"b"}}""")).Fails(400, "BadRequest",
            "Nonsense in version \"v1\" cannot be handled as a ConfigMap: no kind \"Nonsense\" is registered for version \"v1\" in scheme \"pkg/api/legacyscheme/scheme.go:30\"");
        (await _api.Post(maps, """{"apiVersion":"apps/v1","kind":"ConfigMap","metadata":{"name":"b"}}""")).Fails(400, "BadRequest",
            "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: no kind \"ConfigMap\" is registered for version \"apps/v1\" in scheme \"pkg/api/legacyscheme/scheme.go:30\"");
        Answer bare = (await _api.Post(maps, """{"metadata":{"name":"bare"}}""")).Is(201);
        Assert.Equal(("v1", "ConfigMap"), (bare["apiVersion"], bare["kind"]));
    }

    [Theory]
    [InlineData("", "the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse error: unexpected end of JSON input (<empty>)")]
    [InlineData("{\"a\"", "the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse error: unexpected end of JSON input ({\"a\")")]
    [InlineData("{a}", "the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse error: "
        + "invalid character 'a' looking for beginning of object key string ({a})")]
    [InlineData("[]", "the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse error: "
        + "json: cannot unmarshal array into Go value of type struct { APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" } (5b5d)")]
    [InlineData("{\"data\":[1]}", "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: json: cannot unmarshal array into Go struct field ConfigMap.data of type map[string]string")]
    [InlineData("{\"data\":{\"a\":1}}", "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: json: cannot unmarshal number into Go struct field ConfigMap.data of type string")]
    public async Task A_body_that_cannot_be_read_is_explained(string body, string message) =>
        (await _api.Post(await Maps(), body)).Fails(400, "BadRequest", message);

    [Fact]
    public async Task Media_types_are_negotiated()
    {
        string maps = await Maps();
        Answer refused = (await _api.Send("POST", maps, Map("a"), "text/plain")).Is(415);
        Assert.Equal("UnsupportedMediaType", refused["reason"]);
        Assert.StartsWith("the body of the request was in an unknown format - accepted media types include: application/json, application/yaml",
            refused["message"], StringComparison.Ordinal);
        (await _api.Send("POST", maps, "metadata: {name: a}\ndata: {k: v}\n", "application/yaml")).Is(201);
        Answer text = (await _api.Get(maps + "/a", "application/yaml")).Is(200);
        Assert.Equal("application/yaml", text.Headers["Content-Type"].Single());
        Answer unacceptable = (await _api.Get(maps + "/a", "text/html")).Is(406);
        Assert.Equal("NotAcceptable", unacceptable["reason"]);
        Assert.StartsWith("only the following media types are accepted: application/json, application/yaml", unacceptable["message"], StringComparison.Ordinal);
        (await _api.Patch(maps + "/a", "application/json", "{}")).Fails(415, "UnsupportedMediaType",
            "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, "
            + "application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml");
    }

    [Fact]
    public async Task Bodies_have_a_limit() =>
        (await _api.Post(await Maps(), Map("a", new string('x', 3 * 1024 * 1024)))).Fails(413, "RequestEntityTooLarge", "Request entity too large: limit is 3145728");

    [Fact]
    public async Task Methods_and_paths_that_are_not_served()
    {
        string maps = await Maps();
        const string NotAllowed = "the server does not allow this method on the requested resource";
        const string NoSuch = "the server could not find the requested resource";
        (await _api.Post(maps + "/a", Map("a"))).Fails(405, "MethodNotAllowed", NotAllowed);
        (await _api.Put(maps, Map("a"))).Fails(405, "MethodNotAllowed", NotAllowed);
        (await _api.Delete("/api/v1/configmaps")).Fails(405, "MethodNotAllowed", NotAllowed);
        (await _api.Get("/api/v1/nonsense")).Fails(404, "NotFound", NoSuch);
        (await _api.Get(maps + "/a/nonsense")).Fails(404, "NotFound", NoSuch);
        Answer page = (await _api.Get("/apis/no.such.group/v1/things")).Is(404);
        Assert.Equal("404 page not found\n", page.Body);
    }

    [Fact]
    public async Task GenerateName_makes_names_and_dry_runs_leave_nothing()
    {
        string maps = await Maps();
        Answer made = (await _api.Post(maps, """{"metadata":{"generateName":"g-"}}""")).Is(201);
        Assert.Matches("^g-[bcdfghjklmnpqrstvwxz2456789]{5}$", made["metadata.name"]);
        Assert.Equal("g-", made["metadata.generateName"]);
        Answer dry = (await _api.Post(maps + "?dryRun=All", Map("dry"))).Is(201);
        Assert.NotEqual("", dry["metadata.uid"]);
        Assert.Equal("", dry.Version);
        (await _api.Get(maps + "/dry")).Is(404);
        (await _api.Post(maps, Map("a", "1"))).Is(201);
        Assert.Equal("2", (await _api.Put(maps + "/a?dryRun=All", Map("a", "2"))).Is(200)["data.k"]);
        (await _api.Delete(maps + "/a?dryRun=All")).Is(200);
        Assert.Equal("1", (await _api.Get(maps + "/a")).Is(200)["data.k"]);
        (await _api.Post(maps + "?dryRun=All", Map("a"))).Fails(409, "AlreadyExists", "configmaps \"a\" already exists");
        (await _api.Post(maps + "?dryRun=Some", Map("b"))).Fails(422, "Invalid",
            "CreateOptions.meta.k8s.io \"\" is invalid: dryRun: Unsupported value: [\"Some\"]: supported values: \"All\"");
        (await _api.Post(maps, "{\"metadata\":{}}")).Fails(422, "Invalid",
            "ConfigMap \"\" is invalid: metadata.name: Required value: name or generateName is required")
            .About("ConfigMap", "", "").Because("FieldValueRequired|metadata.name|Required value: name or generateName is required");
    }

    [Fact]
    public async Task Fields_are_validated_as_the_client_wants_it()
    {
        string maps = await Maps();
        const string Body = """{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"NAME","bogus":1},"data":{"a":"1","a":"2"},"nonsense":{}}""";
        Answer strict = (await _api.Post(maps + "?fieldValidation=Strict", Body.Replace("NAME", "a", StringComparison.Ordinal))).Is(400);
        Assert.Equal("BadRequest", strict["reason"]);
        Assert.Equal("ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: unknown field \"metadata.bogus\", "
            + "duplicate field \"data.a\", unknown field \"nonsense\"", strict["message"]);
        Answer warned = (await _api.Post(maps + "?fieldValidation=Warn", Body.Replace("NAME", "b", StringComparison.Ordinal))).Is(201);
        Assert.Equal(
            ["299 - \"unknown field \\\"metadata.bogus\\\"\"", "299 - \"duplicate field \\\"data.a\\\"\"", "299 - \"unknown field \\\"nonsense\\\"\""],
            warned.Warnings);
        Assert.Equal("2", warned["data.a"]);
        Assert.Null(warned.At("nonsense"));
        Answer ignored = (await _api.Post(maps + "?fieldValidation=Ignore", Body.Replace("NAME", "c", StringComparison.Ordinal))).Is(201);
        Assert.Empty(ignored.Warnings);
        Assert.Equal(3, (await _api.Post(maps, Body.Replace("NAME", "d", StringComparison.Ordinal))).Is(201).Warnings.Length);
        (await _api.Post(maps + "?fieldValidation=Maybe", Map("e"))).Fails(422, "Invalid",
            "CreateOptions.meta.k8s.io \"\" is invalid: fieldValidation: Unsupported value: \"Maybe\": supported values: \"Ignore\", \"Strict\", \"Warn\"");
        (await _api.Patch(maps + "/b?fieldValidation=Strict", ApiClient.MergePatch, """{"nonsense":1}""")).Fails(422, "Invalid",
            " \"\" is invalid: patch: Invalid value: " + Quoted(await Patched(maps + "/b")) + ": strict decoding error: unknown field \"nonsense\"");
    }

    [Fact]
    public async Task Metadata_is_validated()
    {
        string maps = await Maps();
        (await _api.Post(maps, """{"metadata":{"name":"A_b","labels":{"x y":"1","k":"-v"},"annotations":{"b@d":""},"finalizers":["nope!"]}}"""))
            .Is(422).About("ConfigMap", "", "A_b").Because(
            "FieldValueInvalid|metadata.name|Invalid value: \"A_b\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, "
            + "'-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
            + "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
            "FieldValueInvalid|metadata.labels|Invalid value: \"x y\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with "
            + "an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
            "FieldValueInvalid|metadata.labels|Invalid value: \"-v\": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', "
            + "and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
            + "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
            "FieldValueInvalid|metadata.annotations|Invalid value: \"b@d\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with "
            + "an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
            "FieldValueInvalid|metadata.finalizers|Invalid value: \"nope!\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with "
            + "an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
            "FieldValueInvalid|metadata.finalizers[0]|Invalid value: \"nope!\": name is neither a standard finalizer name nor is it fully qualified");
    }

    private async Task<string> Patched(string path)
    {
        JsonObject now = (await _api.Get(path)).Json.AsObject();
        now["nonsense"] = 1;
        return now.ToJsonString(new System.Text.Json.JsonSerializerOptions { Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping });
    }

    private static string Quoted(string text) => "\"" + text.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\"", "\\\"", StringComparison.Ordinal) + "\"";

    private async Task<string> Maps() => $"/api/v1/namespaces/{await cluster.NewNamespace()}/configmaps";

    private static string Map(string name, string value = "v") =>
        $$$"""{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"{{{name}}}"},"data":{"k":"{{{value}}}"}}""";
}
