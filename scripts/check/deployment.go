package main

import (
	"context"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"weboffice-functions/shared/app"
)

// checkServerless checks s.yaml as it stands, and with each environment's settings laid over it.
// What ${…} becomes is Serverless Devs' to say (checkRendering).
func checkServerless(_ context.Context, p project, r *report) string {
	base, deployed := readYAML(r, p.files, "s.yaml"), map[string]string{}
	for _, e := range environments(p.files, base, r) {
		r.validate(e.document, serverlessRules())
		serverless{r, e.document}.check()
		for _, name := range keys(get(e.value, "resources")) {
			props := get(e.value, "resources", name, "props")
			key, here := text(props, "region")+text(props, "functionName"), e.name+"/"+name
			if other, taken := deployed[key]; taken && text(props, "functionName") != "" {
				r.add(e.place("resources", name, "props", "functionName"),
					fmt.Sprintf("%s is deployed over %s", here, other),
					"give each environment's functions names of their own")
			}
			deployed[key] = here
		}
	}
	return ""
}

// environment is s.yaml as Serverless Devs sees it. The one without a name is what a command
// without --env uses.
type environment struct {
	name string
	document
}

// environments returns s.yaml itself and one for each entry of the file that its env names.
func environments(files fs.FS, base document, r *report) []environment {
	all := []environment{{"", base}}
	if text(base.value, "env") == "" {
		return all
	}
	own := readYAML(r, files, text(base.value, "env"))
	r.validate(own, environmentsRules())
	list, _ := get(own.value, "environments").([]any)
	for i, each := range list {
		e := environment{text(each, "name"), base}
		for _, resource := range keys(get(each, "overlays", "resources")) {
			from := []string{"environments", strconv.Itoa(i), "overlays", "resources", resource}
			if get(base.value, "resources", resource) == nil {
				r.add(own.place(from...), "s.yaml has no resource "+resource, "correct its name")
				continue
			}
			over := map[string]any{"props": get(own.value, from...)}
			e.value = merged(e.value, map[string]any{"resources": map[string]any{resource: over}})
			_, node := entryAt(own.parts[0].root, from)
			at := []string{"resources", resource, "props"}
			e.parts = append(slices.Clip(e.parts), part{own.parts[0].file, node, at})
		}
		all = append(all, e)
	}
	return all
}

// serverless checks in one environment what the schema cannot say.
type serverless struct {
	*report
	document
}

func (s serverless) check() {
	var names []string
	resources := get(s.value, "resources")
	for _, resource := range keys(resources) {
		props := get(resources, resource, "props")
		names = append(names, text(props, "functionName"),
			"${resources."+resource+".props.functionName}")
		path := []string{"resources", resource, "props", "environmentVariables"}
		s.variables(s.document, path, "FC_", app.Required)
		cpu, _ := strconv.ParseFloat(text(props, "cpu"), 64)
		megabytes, _ := strconv.ParseFloat(text(props, "memorySize"), 64)
		if gb := megabytes / 1024; cpu > 0 && (gb < cpu-1e-9 || gb > 4*cpu+1e-9) {
			s.add(s.place("resources", resource, "props", "cpu"),
				fmt.Sprintf("%v vCPU for %v GB", cpu, gb),
				"Function Compute takes 1 to 4 GB for each vCPU")
		}
	}
	walk(s.value, nil, func(path []string, value any) {
		name, isText := value.(string)
		if !isText || len(path) == 0 {
			return
		}
		switch key, at := path[len(path)-1], s.place(path...); {
		case path[0] == "flow" && get(resources, name) == nil:
			s.add(at, "flow names "+name+", which is no resource", "name one under resources")
		case key == "functionName" && !slices.Contains(names, name):
			s.add(at, name+" is no function of this file",
				"functionName: ${resources.NAME.props.functionName}")
		case variable(key).Secret && !bareCall.MatchString(name):
			s.add(at, key+" stands in a file", "${env('"+key+
				"')}, without a default: secrets come from the shell, .env or CI")
		}
	})
}

// bareCall is ${env('X')} without a default: nothing renders where X is not set.
var bareCall = regexp.MustCompile(`(?m)^\$\{env\(['"](\w+)['"]\)\}$`)

// variables checks that an environment has the variables that the functions read, those that must
// be there and no other.
func (r *report) variables(d document, path []string, reserved string, required ...app.Need) {
	given := get(d.value, path...)
	for _, name := range keys(given) {
		at := d.place(append(slices.Clip(path), name)...)
		if strings.HasPrefix(name, reserved) {
			r.add(at, name+" is the platform's own", "take it out")
		} else if variable(name).Name == "" {
			r.add(at, "the functions do not read "+name,
				"correct it, or take it out; shared/app/environment.go lists what they read")
		}
	}
	for _, v := range app.Variables() {
		if slices.Contains(required, v.Need) && get(given, v.Name) == nil && given != nil {
			what := v.Name + " is missing in " + strings.Join(path, ".")
			r.add(d.place(path...), what, "add it: "+v.Use)
		}
	}
}

// variable returns what the functions say of an environment variable; the zero value where they do
// not read it.
func variable(name string) app.Variable {
	for _, v := range app.Variables() {
		if v.Name == name && v.Need != app.Container {
			return v
		}
	}
	return app.Variable{}
}

// template checks in template.yml what the schema cannot say. Its document has the properties of
// Globals under those of each function, as SAM lays them.
type template struct {
	*report
	document
}

func checkTemplate(_ context.Context, p project, r *report) string {
	t := template{r, readYAML(r, p.files, "template.yml")}
	key, globals := entryAt(t.parts[0].root, []string{"Globals", "Function"})
	for _, name := range keys(get(t.value, "Resources")) {
		if text(t.value, "Resources", name, "Type") == "AWS::Serverless::Function" {
			at := []string{"Resources", name, "Properties"}
			if key != nil {
				under := map[string]any{"Properties": get(t.value, "Globals", "Function")}
				t.value = merged(map[string]any{"Resources": map[string]any{name: under}}, t.value)
				t.parts = append([]part{{"template.yml", globals, at}}, t.parts...)
			}
			t.variables(t.document, append(at, "Environment", "Variables"), "AWS_", app.Required,
				app.RequiredOffFC, app.RequiredLambda)
		}
	}
	r.validate(t.document, templateRules())
	t.references()
	return ""
}

// joined gives all texts under a value, each on a line of its own.
func joined(value any) string {
	all := "\n"
	walk(value, nil, func(_ []string, value any) { all += text(value) + "\n" })
	return all
}

var substituted = regexp.MustCompile(`\$\{([A-Za-z0-9:.]+)\}`)

// references checks that what Ref, GetAtt, Sub and If name is there, that every parameter is used,
// and that no output shows a hidden one.
func (t template) references() {
	known, used := map[string]bool{}, map[string]bool{}
	for _, section := range []string{"Parameters", "Conditions", "Resources"} {
		for _, name := range keys(get(t.value, section)) {
			known[name] = true
			known[name+"Url"] = section == "Resources" // SAM makes a resource of a function's URL
		}
	}
	walk(t.value, nil, func(path []string, value any) {
		var names []string
		switch name, argument := call(value); name {
		case "", "Not", "Equals", "And", "Or", "Join", "Select", "Split":
		case "Ref", "GetAtt":
			names = append(strings.Fields(joined(argument)), "")[:1]
		case "If":
			names = []string{text(argument, "0")}
		case "Sub":
			for _, found := range substituted.FindAllStringSubmatch(text(argument), -1) {
				names = append(names, found[1])
			}
		default:
			t.add(t.place(path...), name+" is no intrinsic function that is known here",
				"use Ref, GetAtt, Sub or If")
		}
		for _, name := range names {
			base, _, _ := strings.Cut(name, ".")
			if used[base] = true; !known[base] && !strings.HasPrefix(base, "AWS::") {
				t.add(t.place(path...), name+" is no parameter, condition or resource",
					"correct the name")
			}
		}
	})
	outputs := joined(get(t.value, "Outputs"))
	for _, name := range keys(get(t.value, "Parameters")) {
		at := t.place("Parameters", name)
		if !used[name] {
			t.add(at, "nothing uses the parameter "+name, "take it out")
		}
		if text(t.value, "Parameters", name, "NoEcho") == "true" &&
			(strings.Contains(outputs, "\n"+name+"\n") ||
				strings.Contains(outputs, "${"+name+"}")) {
			t.add(at, "an output shows the parameter "+name,
				"take the output out: NoEcho does not reach that far")
		}
	}
}
