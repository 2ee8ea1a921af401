using System.Text.Json.Nodes;
using Kapell.Machinery;

namespace Kapell.ApiServer.OpenApi;

/// <summary>
/// An OpenAPI 2 document as gnostic's protobuf (openapi_v2.Document), the form kubectl asks for. The numbers are those of OpenAPIv2.proto.
/// </summary>
internal static class GnosticDocument
{
    public static byte[] Write(JsonObject document)
    {
        ProtobufWriter writer = new();
        writer.Text(1, document.Text("swagger"));
        writer.Message(2, info =>
        {
            info.Text(1, document.Object("info").Text("title"));
            info.Text(2, document.Object("info").Text("version"));
        });
        writer.Message(8, paths =>
        {
            foreach ((string path, JsonNode? item) in document.Object("paths") ?? [])
            {
                paths.Message(2, named =>
                {
                    named.Text(1, path);
                    named.Message(2, value => PathItem(value, (JsonObject)item!));
                });
            }
        });
        writer.Message(9, definitions => NamedSchemas(definitions, document.Object("definitions")));
        return writer.Written.ToArray();
    }

    private static void PathItem(ProtobufWriter writer, JsonObject item)
    {
        foreach ((string method, int field) in (ReadOnlySpan<(string, int)>)[("get", 2), ("put", 3), ("post", 4), ("delete", 5), ("patch", 8)])
        {
            if (item[method] is JsonObject operation)
            {
                writer.Message(field, w => Operation(w, operation));
            }
        }

        Parameters(writer, 9, item.Array("parameters"));
    }

    private static void Operation(ProtobufWriter writer, JsonObject operation)
    {
        Texts(writer, 1, operation.Array("tags"));
        writer.Text(3, operation.Text("description"));
        writer.Text(5, operation.Text("operationId"));
        Texts(writer, 6, operation.Array("produces"));
        Texts(writer, 7, operation.Array("consumes"));
        Parameters(writer, 8, operation.Array("parameters"));
        writer.Message(9, responses =>
        {
            foreach ((string code, JsonNode? answer) in operation.Object("responses") ?? [])
            {
                // Responses.response_code: NamedResponseValue; ResponseValue.response: Response.
                responses.Message(1, named =>
                {
                    named.Text(1, code);
                    named.Message(2, value => value.Message(1, response =>
                    {
                        response.Text(1, answer.Text("description"));
                        if (answer.Object("schema") is { } schema)
                        {
                            response.Message(2, item => item.Message(1, s => Schema(s, schema)));
                        }
                    }));
                });
            }
        });
        Extensions(writer, 13, operation);
    }

    private static void Parameters(ProtobufWriter writer, int field, JsonArray? parameters)
    {
        foreach (JsonNode? parameter in parameters ?? [])
        {
            writer.Message(field, item => item.Message(1, p => Parameter(p, (JsonObject)parameter!)));
        }
    }

    private static void Parameter(ProtobufWriter writer, JsonObject parameter)
    {
        string place = parameter.Text("in");
        if (place == "body")
        {
            writer.Message(1, body =>
            {
                body.Text(2, parameter.Text("name"));
                body.Text(3, place);
                body.Bool(4, parameter.Bool("required"));
                body.Message(5, s => Schema(s, parameter.Object("schema")!));
            });
            return;
        }

        // NonBodyParameter: query is its third kind, path its fourth; their first fields are numbered differently for query.
        writer.Message(2, other => other.Message(place == "query" ? 3 : 4, sub =>
        {
            sub.Bool(1, parameter.Bool("required"));
            sub.Text(2, place);
            sub.Text(4, parameter.Text("name"));
            sub.Text(place == "query" ? 6 : 5, parameter.Text("type"));
        }));
    }

    private static void NamedSchemas(ProtobufWriter writer, JsonObject? schemas)
    {
        foreach ((string name, JsonNode? schema) in schemas ?? [])
        {
            writer.Message(1, named =>
            {
                named.Text(1, name);
                named.Message(2, s => Schema(s, (JsonObject)schema!));
            });
        }
    }

    private static void Schema(ProtobufWriter writer, JsonObject schema)
    {
        TextIfAny(writer, 1, schema.Text("$ref"));
        TextIfAny(writer, 2, schema.Text("format"));
        TextIfAny(writer, 4, schema.Text("description"));
        if (schema["default"] is { } value)
        {
            writer.Message(5, any => any.Text(2, value.ToJsonString() + "\n"));
        }

        Texts(writer, 19, schema.Array("required"));
        if (schema.Object("additionalProperties") is { } additional)
        {
            writer.Message(21, item => item.Message(1, s => Schema(s, additional)));
        }

        if (schema.Text("type") is { Length: > 0 } type)
        {
            writer.Message(22, item => item.Text(1, type));
        }

        if (schema.Object("items") is { } items)
        {
            writer.Message(23, item => item.Message(1, s => Schema(s, items)));
        }

        if (schema.Object("properties") is { } properties)
        {
            writer.Message(25, named => NamedSchemas(named, properties));
        }

        Extensions(writer, 31, schema);
    }

    // NamedAny: the value is YAML, and JSON is YAML.
    private static void Extensions(ProtobufWriter writer, int field, JsonObject owner)
    {
        foreach ((string name, JsonNode? value) in owner)
        {
            if (name.StartsWith("x-", StringComparison.Ordinal) && value is not null)
            {
                writer.Message(field, named =>
                {
                    named.Text(1, name);
                    named.Message(2, any => any.Text(2, value.ToJsonString() + "\n"));
                });
            }
        }
    }

    private static void Texts(ProtobufWriter writer, int field, JsonArray? texts)
    {
        foreach (JsonNode? text in texts ?? [])
        {
            writer.Text(field, text.AsText() ?? "");
        }
    }

    private static void TextIfAny(ProtobufWriter writer, int field, string text)
    {
        if (text.Length > 0)
        {
            writer.Text(field, text);
        }
    }
}
