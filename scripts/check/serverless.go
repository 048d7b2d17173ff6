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
// The tool's own schema lets unknown words and misspelt properties through, and Function Compute
// answers them at deployment, after the first function is live.
func checkServerless(_ context.Context, p project, r *report) string {
	base, deployed := readYAML(r, p.files, "s.yaml"), map[string]string{}
	if base == nil {
		return ""
	}
	for _, e := range environments(p.files, base, r) {
		s := serverless{report: r, files: p.files}
		file := s.rendered(e.file, e.file)
		s.check(file)
		for _, f := range resources(file) {
			if name := f.value.get("props", "functionName"); name != nil {
				key, here := joined(f.value.get("props", "region"))+name.text, e.name+"/"+f.key
				if other, taken := deployed[key]; taken {
					what := fmt.Sprintf("%s is deployed over %s, as %s", here, other, name.text)
					r.add(name.place, what, "give each environment's functions names of their own")
				}
				deployed[key] = here
			}
		}
	}
	return ""
}

// environment is s.yaml as Serverless Devs sees it. The one without a name is what a command
// without --env uses.
type environment struct {
	name string
	file *node
}

// environments returns s.yaml itself and one for each entry of the file that its env names.
func environments(files fs.FS, base *node, r *report) []environment {
	all := []environment{{"", base}}
	name := base.get("env")
	if name == nil || name.kind != text {
		return all
	}
	own := readYAML(r, files, name.text)
	if own == nil {
		return all
	}
	overlays := table{}
	for _, f := range resources(base) {
		// what is in it is checked where it lies over the resource
		overlays[f.key] = mapOf(anything)
	}
	r.apply(fields(table{"environments!": listOf(fields(table{
		"name!":       matching(`[a-z][a-z0-9-]*`, "lower-case letters, digits and -"),
		"type":        oneOf("testing", "staging", "production"),
		"description": aText, "overlays": fields(table{"resources!": fields(overlays)}),
	}))}), own, "environments")
	for _, e := range own.get("environments").list() {
		merged := *base
		merged.fields = slices.Clone(base.fields)
		merged.set(field{key: "resources", value: &node{kind: object, place: base.place}})
		for _, f := range resources(base) {
			over := &node{kind: object}
			if o := e.get("overlays", "resources", f.key); o != nil {
				over.fields = []field{{"props", o, o.place}}
			}
			merged.get("resources").set(field{f.key, f.value.merged(over), f.place})
		}
		if n := e.get("name"); n != nil {
			all = append(all, environment{n.text, &merged})
		}
	}
	return all
}

func (n *node) list() []*node {
	if n == nil {
		return nil
	}
	return n.items
}

func resources(file *node) []field {
	if all := file.get("resources"); all != nil {
		return all.fields
	}
	return nil
}

// serverless checks one environment.
type serverless struct {
	*report
	files fs.FS
	depth int // of names within names
}

func (s serverless) check(file *node) {
	s.apply(serverlessFile(), file, "s.yaml")
	if !strings.Contains(joined(file.get("actions", "pre-deploy")), "go run ./scripts/build") {
		s.add(file.place, "nothing builds before a deployment",
			"actions.pre-deploy: [{run: go run ./scripts/build -target fc, path: ./}]")
	}
	deployed := map[string]bool{}
	for _, f := range resources(file) {
		props := f.value.get("props")
		switch component := f.value.get("component"); {
		case props == nil || component == nil: // reported already
		case component.is("fc3-domain"):
			s.apply(domain(), props, f.key)
			s.routes(file, props)
		default:
			s.apply(function(), props, f.key)
			s.function(props, f.key)
			if code := props.get("code"); code != nil {
				deployed[strings.TrimPrefix(code.text, "./")] = true
			}
		}
	}
	for _, name := range functionNames(s.files) {
		if !deployed["dist/fc/"+name] {
			s.add(file.place, "functions/"+name+" is not deployed",
				"add a resource with code: ./dist/fc/"+name)
		}
	}
	file.get("flow").walk(func(n *node) {
		if n.kind == text && file.get("resources", n.text) == nil {
			s.add(n.place, "flow names "+n.text+", which is no resource",
				"name one under resources")
		}
	})
}

// joined puts all texts under n one after the other.
func joined(n *node) string {
	var all strings.Builder
	n.walk(func(n *node) { all.WriteString(n.text + "\n") })
	return all.String()
}

// serverlessFile is s.yaml but for the props.
func serverlessFile() rule {
	actions := mapOf(listOf(fields(table{"run": aText, "path": aText, "plugin": aText,
		"args": anything})))
	return fields(table{
		"edition!": oneOf("3.0.0"), "name!": matching(`[A-Za-z][\w-]*`, "a name"), "access!": aText,
		"env":  aText,
		"vars": mapOf(aText), "flow": mapOf(listOf(listOf(aText))), "actions": actions,
		"resources!": mapOf(fields(table{"component!": oneOf("fc3", "fc3-domain"),
			"actions": actions, "props!": mapOf(anything)})),
	})
}

func region() rule {
	return oneOf("cn-hangzhou", "cn-shanghai", "cn-beijing", "cn-qingdao", "cn-zhangjiakou",
		"cn-huhehaote", "cn-wulanchabu", "cn-shenzhen",
		"cn-chengdu", "cn-hongkong", "ap-southeast-1", "ap-southeast-2", "ap-southeast-3",
		"ap-southeast-5", "ap-southeast-7", "ap-northeast-1",
		"ap-northeast-2", "ap-south-1", "eu-central-1", "eu-west-1", "us-east-1", "us-west-1",
		"me-central-1", "cn-heyuan-acdr-1")
}

func methods() rule {
	return listOf(oneOf("OPTIONS", "GET", "POST", "HEAD", "PUT", "DELETE",
		"PATCH"))
}

// function is the props of component fc3, but for containers, GPUs, file systems and asynchronous
// calls, which have no place here.
func function() rule {
	hook := fields(table{"handler": aText, "command": listOf(aText), "timeout": numeric(1, 300, 1)})
	return fields(table{
		"region!": region(), "functionName!": matching(`[A-Za-z_][\w-]{0,127}`,
			"letters, digits, _ and -"), "description": aText,
		"code!": matching(`\./dist/fc/[a-z]+`,
			"a folder that scripts/build makes, ./dist/fc/NAME"),
		"handler!": oneOf("bootstrap"),
		"runtime!": oneOf("go1", "custom.debian11"), "cpu!": numeric(0.05, 16, 0.05),
		"memorySize!": numeric(128, 32768, 64),
		"diskSize!":   oneOf("512", "10240"), "timeout!": numeric(10, 86400, 1),
		"instanceConcurrency": numeric(1, 200, 1),
		"role!": matching(`[\w.-]{1,64}|acs:ram::\d+:role/[\w.-]{1,64}`,
			"a RAM role's name or acs:ram::ACCOUNT:role/NAME"),
		"internetAccess": aBool, "environmentVariables!": mapOf(aText), "resourceGroupId": aText,
		"concurrencyConfig!": fields(table{"reservedConcurrency!": numeric(1, 100000, 1)}),
		"logConfig!": orAuto(fields(table{
			"project!": aText, "logstore!": aText, "enableInstanceMetrics": aBool,
			"enableRequestMetrics": aBool,
			"logBeginRule":         oneOf("DefaultRegex", "None"),
		})),
		"triggers!": listOf(fields(table{
			"triggerName!": aText, "triggerType!": oneOf("http"), "qualifier": aText,
			"description": aText,
			"triggerConfig!": fields(table{"authType!": oneOf("anonymous"), "methods!": methods(),
				"disableURLInternet": aBool}),
		})),
		"instanceLifecycleConfig": fields(table{"initializer": hook, "preStop": hook}),
		"customRuntimeConfig": fields(table{
			"command": listOf(aText), "args": listOf(aText), "port": oneOf("9000"),
			"healthCheckConfig": anything,
		}),
		"vpcConfig": orAuto(fields(table{"vpcId!": aText, "securityGroupId!": aText,
			"vSwitchIds!": listOf(aText)})),
		"tags":            listOf(fields(table{"key!": aText, "value!": aText})),
		"provisionConfig": anything, "scalingConfig": anything,
		"tracingConfig": anything, "customDNS": anything, "layers": listOf(aText),
		"endpoint": aText,
	})
}

// domain is the props of component fc3-domain.
func domain() rule {
	tls := oneOf("TLSv1.2", "TLSv1.3")
	return fields(table{
		"region!": region(), "domainName!": matching(`[a-z0-9-]+(\.[a-z0-9-]+)+`,
			"a host name in lower case"), "protocol!": oneOf("HTTPS"),
		"certConfig!": fields(table{"certId!": matching(`\d+`,
			"the number of a certificate in Certificate Management Service")}),
		"tlsConfig": fields(table{
			"minVersion!": tls, "maxVersion!": tls,
			"cipherSuites!": listOf(matching(
				`TLS_ECDHE_(ECDSA|RSA)_WITH_(AES_\d+_GCM|CHACHA20)_\w+`,
				"forward-secret AEAD suites")),
		}),
		"wafConfig": fields(table{"enableWAF!": aBool}),
		"routeConfig!": fields(table{"routes!": listOf(fields(table{
			"path!": matching(`/[\w*/-]*`, "a path"), "functionName!": aText, "qualifier": aText,
			"methods!": methods(),
		}))}),
	})
}

// function checks what no table says.
func (s serverless) function(props *node, at string) {
	value := func(name string) float64 {
		n := props.get(name)
		if n == nil {
			return 0
		}
		v, _ := strconv.ParseFloat(n.text, 64)
		return v
	}
	if memory := value("memorySize") / 1024; value("cpu") > 0 &&
		(memory < value("cpu")-1e-9 || memory > 4*value("cpu")+1e-9) {
		what := fmt.Sprintf("%s: %v vCPU for %v GB", at, value("cpu"), memory)
		s.add(props.get("cpu").place, what, "Function Compute takes 1 to 4 GB for each vCPU")
	}
	if props.get("runtime").is("go1") && value("instanceConcurrency") > 1 {
		what := at + ": go1 takes one request per instance at a time"
		s.add(props.get("instanceConcurrency").place, what,
			"runtime: custom.debian11, or no instanceConcurrency")
	}
	for _, trigger := range props.get("triggers").list() {
		s.preflights(trigger.get("triggerConfig", "methods"), at)
	}
	if code := props.get("code"); code != nil && !slices.Contains(functionNames(s.files),
		strings.TrimPrefix(code.text, "./dist/fc/")) {
		s.add(code.place, "no build makes "+code.text,
			"there is one for each folder under functions")
	}
	if variables := props.get("environmentVariables"); variables != nil {
		s.variables(variables, at, "FC_", app.Required)
	}
}

func (s serverless) preflights(methods *node, at string) {
	for _, method := range []string{"OPTIONS", "POST"} {
		if methods != nil && !slices.ContainsFunc(methods.items,
			func(n *node) bool { return n.is(method) }) {
			s.add(methods.place, at+": "+method+" is not listed",
				"list it: the gateway answers an unlisted method with 403, without CORS headers")
		}
	}
}

// variables checks that an environment has the variables that the functions read, those that must
// be there and no other.
func (r *report) variables(variables *node, at, reserved string, required ...app.Need) {
	for _, f := range variables.fields {
		if strings.HasPrefix(f.key, reserved) {
			r.add(f.place, at+": "+f.key+" is the platform's own", "take it out")
		} else if variable(f.key).Name == "" {
			r.add(f.place, at+": the functions do not read "+f.key,
				"correct it, or take it out; shared/app/environment.go lists what they read")
		}
	}
	for _, v := range app.Variables() {
		if slices.Contains(required, v.Need) && variables.get(v.Name) == nil {
			r.add(variables.place, at+" has no "+v.Name, "add it: "+v.Use)
		}
	}
}

// routes checks that a domain leads to functions of this file.
func (s serverless) routes(file, props *node) {
	for _, route := range props.get("routeConfig", "routes").list() {
		name := route.get("functionName")
		known := func(f field) bool { return f.value.get("props", "functionName").is(name.text) }
		if name != nil && !slices.ContainsFunc(resources(file), known) {
			s.add(name.place, name.text+" is no function of this file",
				"functionName: ${resources.NAME.props.functionName}")
		}
		s.preflights(route.get("methods"), "domain")
	}
}

var (
	expression = regexp.MustCompile(`\$\{([^}]*)\}`)
	envCall    = regexp.MustCompile(`^env\('(\w+)'(?:, *'([^']*)')?\)$`)
	bareCall   = regexp.MustCompile(`^\$\{env\(['"](\w+)['"]\)\}$`)
	varsName   = regexp.MustCompile(`^vars\.(\w+)$`)
	propsName  = regexp.MustCompile(`^resources\.(\w+)\.props\.(\w+)$`)
)

// rendered replaces ${…} as Serverless Devs does with no variable set but those without a default,
// whose name stands in for them.
func (s serverless) rendered(n, file *node) *node {
	made := *n
	made.items, made.fields = nil, nil
	for _, item := range n.items {
		made.items = append(made.items, s.rendered(item, file))
	}
	for _, f := range n.fields {
		value := f.value
		if name := bareCall.FindStringSubmatch(value.text); variable(f.key).Secret && name != nil {
			// whatever it is called: without a default, as it must be
			value = &node{kind: text, text: name[1], place: value.place}
		} else if variable(f.key).Secret {
			s.add(value.place, f.key+" stands in a file", "${env('"+f.key+
				"')}, without a default: secrets come from the shell, .env or CI")
		}
		made.fields = append(made.fields, field{f.key, s.rendered(value, file), f.place})
	}
	if n.kind == text {
		made.text = expression.ReplaceAllStringFunc(n.text,
			func(whole string) string { return s.value(whole, n, file) })
	}
	return &made
}

// value is what one ${…} becomes.
func (s serverless) value(whole string, n, file *node) string {
	inside := strings.ReplaceAll(strings.TrimSpace(whole[2:len(whole)-1]), `"`, `'`)
	if call := envCall.FindStringSubmatch(inside); call != nil {
		return s.fallback(call[1], call[2], strings.Contains(inside, ","), n)
	}
	if inside == "config('AccountID')" {
		return "1234567890123456"
	}
	var target *node
	if name := varsName.FindStringSubmatch(inside); name != nil {
		target = file.get("vars", name[1])
	} else if name := propsName.FindStringSubmatch(inside); name != nil {
		target = file.get("resources", name[1], "props", name[2])
	}
	if s.depth++; target == nil || target.kind == object || target.kind == list || s.depth > 3 {
		s.add(n.place, whole+" names nothing",
			"use env('NAME', 'default'), vars.NAME or resources.NAME.props.NAME")
		return whole
	}
	return s.rendered(target, file).text
}

// fallback is ${env('name', 'fallback')}. Without a fallback a deployment stops where the variable
// is not set: right for secrets and for what the functions cannot do without, wrong for anything
// else.
func (s serverless) fallback(name, fallback string, has bool, n *node) string {
	v := variable(name)
	switch {
	case has && v.Secret:
		s.add(n.place, name+" has a default", "leave it out: a secret in a file is everybody's")
	case !has && !v.Secret && v.Need != app.Required:
		s.add(n.place,
			name+" has no default: where it is not set nothing renders, previews included",
			"${env('"+name+"', 'a sensible value')}")
	case has:
		return fallback
	}
	return name
}

// variable returns what the functions say of an environment variable; the zero value where they do
// not read it.
func variable(name string) app.Variable {
	for _, v := range app.Variables() {
		if v.Name == name {
			return v
		}
	}
	return app.Variable{}
}

// functionNames lists the functions: the folders under functions that hold a bootstrap.
func functionNames(files fs.FS) (names []string) {
	mains, _ := fs.Glob(files, "functions/*/bootstrap/main.go")
	for _, m := range mains {
		names = append(names, strings.Split(m, "/")[1])
	}
	return names
}
