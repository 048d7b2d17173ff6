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
func checkServerless(_ context.Context, p project, r *report) {
	deployed := map[string]string{}
	for _, e := range environments(p.files, r) {
		r.validate(e.node, e.plain(), "serverless")
		r.serverless(e.node)
		for _, name := range e.at("resources").keys() {
			props := e.at("resources", name, "props")
			key, here := props.text("region")+props.text("functionName"), e.name+"/"+name
			if other, taken := deployed[key]; taken && props.text("functionName") != "" {
				r.add(props.at("functionName").place,
					fmt.Sprintf("%s is deployed over %s", here, other),
					"give each environment's functions names of their own")
			}
			deployed[key] = here
		}
	}
}

// environment is s.yaml as Serverless Devs sees it. The one without a name is what a command
// without --env uses.
type environment struct {
	name string
	node
}

// environments returns s.yaml itself and one for each entry of the file that its env names.
func environments(files fs.FS, r *report) []environment {
	base := readYAML(r, files, "s.yaml")
	all := []environment{{"", base}}
	if base.text("env") == "" {
		return all
	}
	own := readYAML(r, files, base.text("env"))
	r.validate(own, own.plain(), "environments")
	for _, each := range own.at("environments").items {
		e, resources := environment{each.text("name"), base}, each.at("overlays", "resources")
		for _, name := range resources.keys() {
			if base.at("resources", name).empty() {
				r.add(resources.at(name).place, "s.yaml has no resource "+name, "correct its name")
				continue
			}
			e.node = e.with(resources.at(name).under("resources", name, "props"))
		}
		all = append(all, e)
	}
	return all
}

// serverless checks in one environment what the schema cannot say.
func (r *report) serverless(s node) {
	var names []string
	resources := s.at("resources")
	for _, resource := range resources.keys() {
		props := resources.at(resource, "props")
		names = append(names, props.text("functionName"),
			"${resources."+resource+".props.functionName}")
		r.variables(resource, props.at("environmentVariables"), "FC_", app.Required)
		cpu, _ := strconv.ParseFloat(props.text("cpu"), 64)
		megabytes, _ := strconv.ParseFloat(props.text("memorySize"), 64)
		if gb := megabytes / 1024; cpu > 0 && (gb < cpu-1e-9 || gb > 4*cpu+1e-9) {
			r.add(props.at("cpu").place, fmt.Sprintf("%v vCPU for %v GB", cpu, gb),
				"Function Compute takes 1 to 4 GB for each vCPU")
		}
	}
	read := func(function string) node { // what both must have alike
		props := resources.at(function, "props")
		return props.at("environmentVariables").with(props.at("region").under("region"))
	}
	generate, refresh := read("generate"), read("refresh")
	for _, name := range generate.with(refresh).keys() {
		if name != "LOG_LEVEL" && generate.text(name) != refresh.text(name) {
			at := refresh.at(name).place
			if at.Filename == "s.yaml" {
				at = generate.at(name).place
			}
			r.add(at, name+" is not the same for both functions",
				"let refresh take generate's, by <<: *NAME: it opens what generate seals")
		}
	}
	s.walk(nil, func(path []string, n node) {
		name, isText := n.value.(string)
		if !isText || len(path) == 0 {
			return
		}
		switch key := path[len(path)-1]; {
		case path[0] == "flow" && resources.at(name).empty():
			r.add(n.place, "flow names "+name+", which is no resource", "name one under resources")
		case key == "functionName" && !slices.Contains(names, name):
			r.add(n.place, name+" is no function of this file",
				"functionName: ${resources.NAME.props.functionName}")
		case variable(key).Secret && !bareCall.MatchString(name):
			r.add(n.place, key+" stands in a file", "${env('"+key+
				"')}, without a default: secrets come from the shell, .env or CI")
		}
	})
}

// bareCall is ${env('X')} without a default: nothing renders where X is not set.
var bareCall = regexp.MustCompile(`(?m)^\$\{env\(['"](\w+)['"]\)\}$`)

// variables checks that the environment of a resource has the variables that the functions read,
// those that must be there and no other.
func (r *report) variables(resource string, given node, reserved string, required ...app.Need) {
	for _, name := range given.keys() {
		at := given.at(name).place
		if strings.HasPrefix(name, reserved) {
			r.add(at, name+" is the platform's own", "take it out")
		} else if variable(name).Name == "" {
			r.add(at, "the functions do not read "+name,
				"correct it, or take it out; shared/app/environment.go lists what they read")
		}
	}
	for _, v := range app.Variables() {
		if slices.Contains(required, v.Need) && given.at(v.Name).empty() && !given.empty() {
			r.add(given.place, v.Name+" is missing in the environment of "+resource,
				"add it: "+v.Use)
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

// checkTemplate checks template.yml with the properties of Globals under those of each function, as
// SAM lays them.
func checkTemplate(_ context.Context, p project, r *report) {
	t := readYAML(r, p.files, "template.yml")
	globals := t.at("Globals", "Function")
	for _, name := range t.at("Resources").keys() {
		if t.text("Resources", name, "Type") == "AWS::Serverless::Function" {
			t = globals.under("Resources", name, "Properties").with(t)
			r.variables(name, t.at("Resources", name, "Properties", "Environment", "Variables"),
				"AWS_", app.Required, app.RequiredOffFC, app.RequiredLambda)
		}
	}
	r.validate(t, t.plain(), "template")
	r.references(t)
}

// texts gives all texts under a node, each on a line of its own.
func (n node) texts() string {
	all := "\n"
	n.walk(nil, func(_ []string, n node) { all += n.text() + "\n" })
	return all
}

var substituted = regexp.MustCompile(`\$\{([A-Za-z0-9:.]+)\}`)

// references checks what the schema of template.yml cannot say: what Ref, GetAtt, Sub and If name
// is there, every parameter is used, and no output shows a hidden one.
func (r *report) references(t node) {
	known, used := map[string]bool{}, map[string]bool{}
	for _, section := range []string{"Parameters", "Conditions", "Resources"} {
		for _, name := range t.at(section).keys() {
			known[name] = true
			known[name+"Url"] = section == "Resources" // SAM makes a resource of a function's URL
		}
	}
	t.walk(nil, func(_ []string, n node) {
		var names []string
		switch name, argument := n.call(); name {
		case "", "Not", "Equals", "And", "Or", "Join", "Select", "Split":
		case "Ref", "GetAtt":
			names = append(strings.Fields(argument.texts()), "")[:1]
		case "If":
			names = []string{argument.text("0")}
		case "Sub":
			for _, found := range substituted.FindAllStringSubmatch(argument.text(), -1) {
				names = append(names, found[1])
			}
		default:
			r.add(n.place, name+" is no intrinsic function that is known here",
				"use Ref, GetAtt, Sub or If")
		}
		for _, name := range names {
			base, _, _ := strings.Cut(name, ".")
			if used[base] = true; !known[base] && !strings.HasPrefix(base, "AWS::") {
				r.add(n.place, name+" is no parameter, condition or resource", "correct the name")
			}
		}
	})
	outputs := t.at("Outputs").texts()
	for name, parameter := range t.at("Parameters").fields {
		if !used[name] {
			r.add(parameter.place, "nothing uses the parameter "+name, "take it out")
		}
		if parameter.text("NoEcho") == "true" && (strings.Contains(outputs, "\n"+name+"\n") ||
			strings.Contains(outputs, "${"+name+"}")) {
			r.add(parameter.place, "an output shows the parameter "+name,
				"take the output out: NoEcho does not reach that far")
		}
	}
}
