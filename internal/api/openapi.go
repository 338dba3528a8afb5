package api

import (
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"

	"berth/internal/auth"
)

// An object is one of JSON.
type object = map[string]any

// describe returns the description of the operations in OpenAPI 3.1.
func describe(operations []operation, version string) object {
	s := schemas{}
	paths := object{}
	for i := range operations {
		op := &operations[i]
		path := Prefix + op.path
		if op.path == "" {
			path += "/"
		}
		item, ok := paths[path].(object)
		if !ok {
			item = object{}
			paths[path] = item
		}
		item[strings.ToLower(op.method)] = op.describe(s)
	}
	s["Error"] = errorSchema()
	return object{
		"openapi": "3.1.0",
		"info": object{
			"title":       "Berth",
			"version":     version,
			"description": "What there is besides pushing and pulling. Names of repositories stand in addresses as they are, with their slashes; these may be escaped, too.",
			"license":     object{"name": "Apache-2.0", "identifier": "Apache-2.0"},
		},
		"paths": paths,
		"components": object{
			"schemas": s,
			"responses": object{"Error": object{
				"description": "What is wrong, and what to do about it.",
				"content":     jsonContent(ref("Error")),
			}},
			"securitySchemes": object{
				"basic": object{"type": "http", "scheme": "basic"},
				"token": object{"type": "http", "scheme": "bearer", "description": "A token as of GET /v2/token. Its scope is that of the repository, or " + "registry:admin:*."},
			},
		},
		"security": []object{{}, {"basic": []string{}}, {"token": []string{}}},
	}
}

func jsonContent(schema object) object {
	return object{"application/json": object{"schema": schema}}
}

func ref(name string) object { return object{"$ref": "#/components/schemas/" + name} }

func errorSchema() object {
	return object{
		"type": "object", "required": []string{"errors"}, "additionalProperties": false,
		"properties": object{"errors": object{"type": "array", "minItems": 1, "items": object{
			"type": "object", "required": []string{"code", "message"}, "additionalProperties": false,
			"properties": object{
				"code":    object{"type": "string", "description": "as in the distribution specification"},
				"message": object{"type": "string", "description": "what is wrong and what to do about it"},
				"detail":  object{},
			},
		}}},
	}
}

// describe returns what the description says of one operation.
func (op *operation) describe(s schemas) object {
	d := object{
		"operationId": op.id, "summary": op.summary, "description": op.does + " " + op.needsText(),
		"responses": object{
			strconv.Itoa(op.status): op.success(s),
			"default":               object{"$ref": "#/components/responses/Error"},
		},
	}
	var parameters []object
	switch {
	case strings.HasSuffix(op.path, "{name}"):
		parameters = append(parameters, object{"name": "name", "in": "path", "required": true, "schema": object{"type": "string", "maxLength": 255},
			"description": "The name of a repository, such as library/alpine."})
	case strings.Contains(op.path, "{id}"):
		parameters = append(parameters, object{"name": "id", "in": "path", "required": true, "schema": object{"type": "integer", "format": "int64", "minimum": 1}})
	}
	for _, p := range op.query {
		schema := s.of(reflect.TypeOf(p.kind))
		if p.most > 0 {
			schema["minimum"], schema["maximum"] = 1, p.most
		}
		parameters = append(parameters, object{"name": p.name, "in": "query", "schema": schema, "description": p.does})
	}
	if parameters != nil {
		d["parameters"] = parameters
	}
	if op.body != nil {
		d["requestBody"] = object{"content": jsonContent(s.of(reflect.TypeOf(op.body)))}
	}
	return d
}

func (op *operation) success(s schemas) object {
	r := object{"description": http.StatusText(op.status)}
	if op.answer != nil {
		r["content"] = jsonContent(s.of(reflect.TypeOf(op.answer)))
	}
	return r
}

// needsText says in words which rights the operation takes.
func (op *operation) needsText() string {
	switch {
	case op.open:
		return "Anybody may ask."
	case len(op.needs) == 0:
		return "Whoever may list repositories may ask."
	case op.needs[0].Whole():
		return "It takes the right `admin`."
	}
	return "It takes the right `" + joinActions(op.needs, "` and `") + "` on the repository."
}

func joinActions(list []auth.Action, between string) string {
	var words []string
	for _, a := range list {
		words = append(words, string(a))
	}
	return strings.Join(words, between)
}

// schemas are those of named types, by name.
type schemas object

// of returns the schema of a type: a reference for a struct, whose schema is added.
// A field is required unless it may be left out. What doc and enum say of a field
// becomes its description and the values that it may have.
func (s schemas) of(t reflect.Type) object {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return object{"type": "string", "format": "date-time"}
	case t.Kind() == reflect.Pointer:
		return s.of(t.Elem())
	}
	switch t.Kind() {
	case reflect.String:
		return object{"type": "string"}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Int, reflect.Int64:
		return object{"type": "integer", "format": "int64"}
	case reflect.Slice:
		return object{"type": "array", "items": s.of(t.Elem())}
	case reflect.Struct:
		if _, ok := s[t.Name()]; !ok {
			s[t.Name()] = object{} // so that a type may hold itself
			s[t.Name()] = s.structure(t)
		}
		return ref(t.Name())
	}
	return object{"type": "object"}
}

func (s schemas) structure(t reflect.Type) object {
	properties, required := object{}, []string{}
	s.fields(t, properties, &required)
	return object{"type": "object", "additionalProperties": false, "properties": properties, "required": required}
}

// fields adds the fields of t, those of what it embeds among them.
func (s schemas) fields(t reflect.Type, properties object, required *[]string) {
	for f := range t.Fields() {
		if f.Anonymous {
			s.fields(f.Type, properties, required)
			continue
		}
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		schema := s.of(f.Type)
		if enum := f.Tag.Get("enum"); enum != "" {
			of := schema
			if items, ok := schema["items"].(object); ok {
				of = items
			}
			of["enum"] = strings.Split(enum, ",")
		}
		if doc := f.Tag.Get("doc"); doc != "" {
			schema["description"] = doc
		}
		properties[name] = schema
		if options != "omitempty" && options != "omitzero" {
			*required = append(*required, name)
		}
	}
}
