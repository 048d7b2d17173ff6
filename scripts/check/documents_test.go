package main

import (
	"context"
	"maps"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
)

// shipped are this repository's own templates, with the environments as they ship: the file in use
// belongs to the adopter.
func shipped(t testing.TB) map[string]string {
	t.Helper()
	files := map[string]string{}
	for name, source := range map[string]string{"s.yaml": "../../s.yaml",
		"template.yml": "../../template.yml", "scripts/env.yaml": "testdata/env.yaml"} {
		text, err := os.ReadFile(source)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = string(text)
	}
	return files
}

// findings runs a check on the files.
func findings(t testing.TB, check func(context.Context, project, *report),
	files map[string]string) (all string) {
	t.Helper()
	r, system := &report{}, fstest.MapFS{}
	for name, text := range files {
		system[name] = &fstest.MapFile{Data: []byte(text)}
	}
	check(t.Context(), project{files: system}, r)
	for _, f := range r.findings {
		if all += f.String() + "\n"; !findingLine.MatchString(f.String()) {
			t.Errorf("%q is not file:line:column: what — fix", f)
		}
	}
	return all
}

var findingLine = regexp.MustCompile(`^[\w./-]+:\d+(:\d+)?: (?s:.+) — .+$`)

// mutation is one change of a file and a piece of the finding that it must cause.
type mutation struct{ old, new, want string }

func mutate(t *testing.T, check func(context.Context, project, *report), file string,
	mutations []mutation) {
	files := shipped(t)
	if all := findings(t, check, files); all != "" {
		t.Errorf("unchanged: %s", all)
	}
	for _, m := range mutations {
		t.Run(m.new, func(t *testing.T) {
			changed := maps.Clone(files)
			changed[file] = strings.Replace(files[file], m.old, m.new, 1)
			all := findings(t, check, changed)
			if changed[file] == files[file] || !strings.Contains(all, m.want) {
				t.Errorf("%q → %q: no finding with %q in\n%s", m.old, m.new, m.want, all)
			}
		})
	}
}

func TestMutationsOfServerlessFile(t *testing.T) {
	const role, keys = "${env('WEBOFFICE_ROLE', 'weboffice-functions')}",
		"${env('WEBOFFICE_SESSION_KEYS')}"
	mutate(t, checkServerless, "s.yaml", []mutation{
		{"authType: anonymous", "authType: bogus", "authType: value must be 'anonymous'"},
		{"authType: anonymous", "authType: function", "a gateway's own check breaks preflights"},
		{"memorySize: 256", "memorysize: 256", "props.memorysize: this is not a property"},
		{"memorySize: 256", "a: 1\n      zed: 1", "generate.props.zed: this is not a property"},
		{"memorySize: 256", "a: 1\n      zed: 1", "generate.props.a: this is not a property"},
		{"memorySize: 256", "memorySize: 250", "memorySize: multipleOf: got 250, want 64"},
		{"memorySize: 256", "memorySize: '256'", "memorySize: got string, want integer"},
		{"memorySize: 256", "memorySize: 1024", "0.2 vCPU for 1 GB"},
		{"cpu: 0.2", "cpu: 0.22", "cpu: multipleOf: got 0.22, want 0.05"},
		{"cpu: 0.2", "cpu: 0.5", "0.5 vCPU for 0.25 GB"},
		{"diskSize: 512", "diskSize: 1024", "diskSize: value must be"},
		{"      timeout: 30", "      Timeout: 30", "missing property 'timeout'"},
		{"timeout: 30", "timeout: 3", "timeout: minimum: got 3, want 10"},
		{"[OPTIONS, GET, POST]", "[GET, POST]", "list OPTIONS, the gateway answers"},
		{"[OPTIONS, GET, POST]", "[OPTIONS, GET, PSOT]", "methods.2: value must be one of"},
		{"handler: bootstrap", "handler: index.handler", "handler: value must be 'bootstrap'"},
		{"code: ./dist/fc/refresh", "code: ./functions/refresh", "must be './dist/fc/refresh'"},
		{"code: ./dist/fc/refresh", "code: ./dist/fc/generate", "must be './dist/fc/refresh'"},
		{"runtime: go1", "runtime: go1.x", "runtime: value must be one of 'go1', 'custom"},
		{"diskSize: 512", "diskSize: 512\n      instanceConcurrency: 20", "go1 takes one request"},
		{"region: ${vars.region}", "region: cn-shanghia", "region: value must be one of"},
		{role, "acs:ram::role/x", "acs:ram::ACCOUNT:role/NAME"},
		{"      role: " + role, "      endpoint: none", "missing property 'role'"},
		{keys, "${env('WEBOFFICE_SESSION_KEYS', 'c2VjcmV0')}", "SESSION_KEYS stands in a file"},
		{keys, "c2VjcmV0", "WEBOFFICE_SESSION_KEYS stands in a file"},
		{keys, "${env('KEYS', 'c2VjcmV0')}", "WEBOFFICE_SESSION_KEYS stands in a file"},
		{"WEBOFFICE_SESSION_KEYS: ", "WEBOFFICE_SESION_KEYS: ", "do not read WEBOFFICE_SESION"},
		{"WEBOFFICE_SESSION_KEYS: ", "WEBOFFICE_SESSION_KEY: ", "WEBOFFICE_SESSION_KEYS is missing"},
		{"LOG_LEVEL: ", "FC_LOG_LEVEL: ", "FC_LOG_LEVEL is the platform's own"},
		{"LOG_LEVEL: ", "ALIBABA_CLOUD_ACCESS_KEY_ID: ", "do not read ALIBABA_CLOUD_ACCESS_KEY"},
		{"reservedConcurrency:", "reserved:", "missing property 'reservedConcurrency'"},
		{"logConfig: auto", "logConfig: Auto", "logConfig: value must be 'auto'"},
		{"logConfig: auto", "logConfig: {project: p}", "missing property 'logstore'"},
		{"functionName: weboffice-refresh", "functionName: weboffice-generate", "is deployed over"},
		{"triggerType: http", "triggerType: oss", "triggerType: value must be 'http'"},
		{"edition: 3.0.0", "edition: 2.0.0", "edition: value must be '3.0.0'"},
		{"component: fc3-domain", "component: fc3-domian", "component: value must be one of"},
		{"go run ./scripts/build -target", "make", "build before a deployment"},
		{"[generate, refresh]", "[generate, refersh]", "flow names refersh"},
		{"<<: *function", "<<: *functoin", "unknown anchor 'functoin'"},
		{"memorySize: 256", "cpu: 0.1", `mapping key "cpu" already defined`},
		{"resources:\n", "resources:\n  generate: [\n", "correct the YAML"},
		{"env: scripts/env.yaml", "env: env.yaml", "env.yaml:1: the file is not there"},
		{"protocol: HTTPS", "protocol: HTTP", "protocol: value must be 'HTTPS'"},
		{"minVersion: TLSv1.2", "minVersion: TLSv1.0", "minVersion: value must be one of"},
		{"${resources.refresh.props.functionName}", "weboffice-refersh", "is no function of this"},
	})
}

func TestMutationsOfEnvironments(t *testing.T) {
	mutate(t, checkServerless, "scripts/env.yaml", []mutation{
		{"        refresh:\n", "        refersh:\n", "s.yaml has no resource refersh"},
		{"type: testing", "type: test", "environments.0.type: value must be one of"},
		{"type: testing", "type: testing\n    region: cn-beijing", "0.region: this is not a property"},
		{"weboffice-generate-test\n", "weboffice-generate-production\n", "deployed over test/generate"},
		{"functionName: weboffice-generate-test\n", "props: {functionName: x}\n", "props.props: this is not"},
		{"reservedConcurrency: 5\n", "reservedConcurrency: five\n", "got string, want integer"},
		{"LOG_LEVEL: DEBUG", "LOGLEVEL: DEBUG", "do not read LOGLEVEL"},
		{"LOG_LEVEL: DEBUG", "WEBOFFICE_LINK_KEYS: c2VjcmV0", "WEBOFFICE_LINK_KEYS stands in a file"},
		{"# instanceConcurrency: 20", "instanceConcurrency: 20", "go1 takes one request per instance"},
	})
}

func TestMutationsOfTheTemplate(t *testing.T) {
	mutate(t, checkTemplate, "template.yml", []mutation{
		{"AuthType: NONE", "AuthType: AWS_IAM", "AuthType: value must be 'NONE'"},
		{"AuthType: NONE", "AuthType: !Ref LogLevel", "AuthType: value must be 'NONE'"},
		{"        AuthType: NONE\n", "", "missing property 'AuthType'"},
		{"InvokeMode: BUFFERED", "InvokeMode: RESPONSE_STREAM", "InvokeMode: value must be"},
		{"InvokeMode: BUFFERED", "Cors: {AllowOrigins: ['*']}", "Cors: this is not a property"},
		{"MemorySize: 256", "MemorySie: 256", "MemorySie: this is not a property"},
		{"MemorySize: 256", "MemorySie: 256", "missing property 'MemorySize'"},
		{"MemorySize: 256", "MemorySize: 64", "MemorySize: minimum: got 64, want 128"},
		{"Timeout: 30", "Timeout: 3", "Timeout: minimum: got 3, want 10"},
		{"Runtime: provided.al2023", "Runtime: go1.x", "Runtime: value must be 'provided.al2023'"},
		{"Architectures: [arm64]", "Architectures: [x86_64]", "Architectures.0: value must be 'arm64'"},
		{"Architectures: [arm64]", "Architectures: []", "Architectures: minItems"},
		{"Handler: bootstrap", "Handler: main", "Handler: value must be 'bootstrap'"},
		{"CodeUri: dist/lambda/generate", "CodeUri: .", "value must be 'dist/lambda/generate'"},
		{"CodeUri: dist/lambda/generate", "CodeUri: dist/lambda/refresh", "value must be 'dist/lambda/gen"},
		{"    Runtime:", "    CodeUri: .\n    Runtime:", "SAM takes it from each function alone"},
		{"SkipBuild: true #", "SkipBuild: false #", "SkipBuild: value must be true"},
		{"    Metadata:\n      SkipBuild: true #", "    #", "missing property 'Metadata'"},
		{"      Role: !GetAtt FunctionRole.Arn\n", "", "missing property 'Role'"},
		{"Role: !GetAtt FunctionRole.Arn", "Role: arn:aws:iam::123456789012:role/x", "random name"},
		{"!If [HasReservedConcurrency, !Ref ReservedConcurrency, !Ref AWS::NoValue]", "10", "none to reserve"},
		{"!If [HasReservedConcurrency,", "!If [HasReserved,", "HasReserved is no parameter, condition"},
		{"SESSION_KEYS: !Ref", "SESSION_KEY: !Ref", "WEBOFFICE_SESSION_KEYS is missing in"},
		{"WEBOFFICE_REGION: ", "WEBOFFICE_REGOIN: ", "the functions do not read WEBOFFICE_REGOIN"},
		{"        ALIBABA_CLOUD_OIDC_AUDIENCE: !Ref OidcAudience\n", "", "OIDC_AUDIENCE is missing"},
		{"LOG_LEVEL: !Ref", "AWS_LOG_LEVEL: !Ref", "AWS_LOG_LEVEL is the platform's own"},
		{"SESSION_KEYS: !Ref SessionKeys", "SESSION_KEYS: c2VjcmV0", "SESSION_KEYS: 'anyOf' failed"},
		{"SESSION_KEYS: !Ref SessionKeys", "SESSION_KEYS: !Ref Project", "!Ref a parameter with NoEcho"},
		{"    NoEcho: true\n    Default: none #", "    Default: none #", "LinkKeys: missing property 'NoEcho'"},
		{"WEBOFFICE_PROJECT: !Ref Project", "WEBOFFICE_PROJECT: !Ref Projcet", "Projcet is no parameter"},
		{"        WEBOFFICE_PROJECT: !Ref Project\n", "", "nothing uses the parameter Project"},
		{"WEBOFFICE_PROJECT: !Ref Project", "WEBOFFICE_PROJECT: !Reference Project", "Reference is no intrinsic"},
		{"RoleName: !Sub ${AWS::StackName}-${AWS::Region}", "Path: /", "missing property 'RoleName'"},
		{"RoleName: !Sub ${AWS::StackName}", "RoleName: !Sub ${StackName}", "StackName is no parameter"},
		{"Service: lambda.amazonaws.com", "Service: ec2.amazonaws.com", "Principal.Service: value must be"},
		{"Action: sts:GetWebIdentityToken #", "Action: 'sts:*' #", "it takes service:Action without *"},
		{"Action: sts:GetWebIdentityToken #", "Action: sts:GetCallerIdentity #", "allow sts:GetWebIdentityToken"},
		{"Action: sts:GetWebIdentityToken #", "Action: sts:GetCallerIdentity #", "name the resources"},
		{"sts:IdentityTokenAudience: !Ref OidcAudience", "sts:IdentityTokenAudience: '*'", "same !Ref OidcAudience"},
		{"ForAllValues:StringEquals", "StringLike", "missing property 'ForAllValues:StringEquals'"},
		{"sts:IdentityTokenAudience: 'false'", "sts:IdentityTokenAudience: 'true'", "true of no audience at all"},
		{"sts:SigningAlgorithm: RS256", "sts:SigningAlgorithm: ES384", "value must be 'RS256'"},
		{"sts:DurationSeconds: 300", "sts:DurationSeconds: 86400", "got 86,400, want 3,600"},
		{"NumericLessThanEquals:", "NumericLessThan:", "missing property 'NumericLessThanEquals'"},
		{"Resource: [!GetAtt GenerateLogs.Arn, !GetAtt RefreshLogs.Arn]", "Resource: '*'", "name the resources"},
		{"Resource: [!GetAtt GenerateLogs.Arn,", "Resource: [!GetAtt GenerateLog.Arn,", "GenerateLog.Arn is no"},
		{"!GetAtt GenerateFunctionUrl.FunctionUrl", "!Ref GenerateFunction", "Outputs.GenerateUrl.Value: "},
		{"    Value: !GetAtt FunctionRole.Arn", "    Value: !Ref SessionKeys", "shows the parameter SessionKeys"},
		{"    Value: !GetAtt FunctionRole.Arn", "    Value: !Sub 'x-${UserSalt}'", "shows the parameter UserSalt"},
		{"    Value: !GetAtt FunctionRole.Arn", "    Value: !Ref FunctionRole", "Outputs.RoleArn.Value: "},
		{"Type: AWS::Logs::LogGroup", "Type: AWS::Logs::LogGruop", "GenerateLogs.Type: value must be"},
		{"RetentionInDays: !Ref", "Retention: !Ref", "GenerateLogs.Properties.Retention: this is not"},
		{"Transform: AWS::Serverless-2016-10-31", "Transform: AWS::Serverless", "Transform: value must be"},
		{"Effect: Allow", "Effect: Permit", "Effect: value must be 'Allow'"},
		{"    Type: String\n    NoEcho", "    Type: string\n    NoEcho", "SessionKeys.Type: value must be"},
		{"Outputs:\n", "Output:\n", "Output: this is not a property"},
	})
	// The other form in which a secret may reach a function.
	files := shipped(t)
	files["template.yml"] = strings.Replace(files["template.yml"], "[HasUserSalt, !Ref UserSalt,",
		"[HasUserSalt, '{{resolve:secretsmanager:weboffice:SecretString:salt}}',", 1)
	if all := findings(t, checkTemplate, files); all != "" {
		t.Error(all)
	}
}

func TestPlacesThroughAnchorsAndMerges(t *testing.T) {
	r := &report{}
	d := parseYAML(r, "x.yaml", []byte("base: &base\n  cpu: 0.2\n  deep: {a: 1, b: [x, y]}\n"+
		"other:\n  <<: *base\n  cpu: 0.3\nagain: *base\n"))
	for _, c := range []struct {
		path, text   string
		line, column int
	}{
		{"other cpu", "0.3", 6, 3}, {"other deep b 1", "y", 3, 23}, {"again deep a", "1", 3, 10},
		{"base cpu", "0.2", 2, 3}, {"other deep nowhere else", "", 3, 3}, {"", "", 1, 1},
	} {
		path := strings.Fields(c.path)
		want := place{Filename: "x.yaml", Line: c.line, Column: c.column}
		if n := d.at(path...); n.place != want || n.text() != c.text {
			t.Errorf("%s: %q at %v, want %v", c.path, n.text(), n.place, want)
		}
	}
	if len(r.findings) > 0 {
		t.Error(r.findings)
	}
}

func TestShortFormsOfIntrinsicFunctions(t *testing.T) {
	read := func(text string) any { return parseYAML(&report{}, "x", []byte(text)).plain() }
	short := read("a: !Ref X\nb: !GetAtt X.Arn\nc: !If [C, 1, !Ref AWS::NoValue]\nd: !Sub\n")
	long := read("a: {Ref: X}\nb: {'Fn::GetAtt': X.Arn}\n" +
		"c: {'Fn::If': [C, 1, {Ref: 'AWS::NoValue'}]}\nd: {'Fn::Sub': ''}\n")
	if !reflect.DeepEqual(short, long) || short == nil {
		t.Errorf("%v, want %v", short, long)
	}
}

func TestYAMLThatIsNone(t *testing.T) {
	for text, want := range map[string]string{
		"a: [1\nb: 2\n":     "x.yaml:2:2: did not find expected ',' or ']'",
		"a: *nobody\n":      "x.yaml:1:4: unknown anchor 'nobody' referenced",
		"a: {b: 1, b: 2}\n": `mapping key "b" already defined`,
		"":                  "no documents in stream",
		"a: 1\n---\nb: 2\n": "expected single document",
		"a:\n  <<: 1\n":     "map merge requires map",
		"a: &a [*a]":        "value contains itself",
		"a: &a " + wide("1") + "\nb: &b " + wide("*a") + "\nc: &c " + wide("*b") +
			"\nd: &d " + wide("*c") + "\ne: " + wide("*d"): "excessive aliasing",
	} {
		r := &report{}
		d := readYAML(r, fstest.MapFS{"x.yaml": {Data: []byte(text)}}, "x.yaml")
		if !d.empty() || len(r.findings) != 1 ||
			!strings.Contains(r.findings[0].String(), want) {
			t.Errorf("%.40q: got %v, want one with %q", text, r.findings, want)
		}
	}
}

// wide is a list of twenty times the same.
func wide(item string) string { return "[" + strings.Repeat(item+", ", 19) + item + "]" }

// TestLinesOfEnvironments takes the "# " off as the first lines of scripts/env.yaml say.
func TestLinesOfEnvironments(t *testing.T) {
	for name, c := range map[string]struct {
		lines string // the keys of the lines
		props map[string]string
	}{
		"the step to the custom runtime": {"runtime|instanceConcurrency|cpu|memorySize", map[string]string{
			"runtime": "custom.debian11", "instanceConcurrency": "20", "cpu": "0.35",
			"memorySize": "384", "handler": "bootstrap"}},
		"variables": {"WEBOFFICE_[A-Z_]+", map[string]string{
			"WEBOFFICE_LINK_KEYS":    "${env('WEBOFFICE_LINK_KEYS')}",
			"WEBOFFICE_USER_SALT":    "${env('WEBOFFICE_USER_SALT')}",
			"WEBOFFICE_SESSION_KEYS": "${env('WEBOFFICE_SESSION_KEYS')}"}},
		"all of them": {"[A-Za-z_]+", map[string]string{"runtime": "custom.debian11",
			"WEBOFFICE_LINK_KEYS": "${env('WEBOFFICE_LINK_KEYS')}"}},
	} {
		t.Run(name, func(t *testing.T) {
			files := shipped(t)
			line := regexp.MustCompile(`(?m)^( +)# ((?:` + c.lines + `): .*)$`)
			files["scripts/env.yaml"] = line.ReplaceAllString(files["scripts/env.yaml"], "$1$2")
			if all := findings(t, checkServerless, files); all != "" {
				t.Error(all)
			}
			r, system := &report{}, fstest.MapFS{}
			for name, text := range files {
				system[name] = &fstest.MapFile{Data: []byte(text)}
			}
			all := environments(system, r)
			if len(all) != 3 {
				t.Fatalf("%d environments, want s.yaml's own, test and production", len(all))
			}
			for _, e := range all[1:] {
				for _, resource := range []string{"generate", "refresh"} {
					props := e.at("resources", resource, "props")
					for name, want := range c.props {
						if props.text(name) != want &&
							props.text("environmentVariables", name) != want {
							t.Errorf("%s/%s: no %s: %s in\n%v", e.name, resource, name, want, props)
						}
					}
				}
			}
			if all[0].text("resources", "generate", "props", "runtime") != "go1" {
				t.Error("s.yaml itself changed")
			}
		})
	}
}

// FuzzTemplates: whatever the files hold, the checks end, and report instead of failing.
func FuzzTemplates(f *testing.F) {
	own := shipped(f)
	f.Add(own["s.yaml"], own["scripts/env.yaml"], own["template.yml"])
	f.Add("resources: {a: {component: fc3, props: {code: !Ref}}}\nvars: {a: '${vars.b}'}",
		"environments: [1]",
		"Resources: {F: {Type: AWS::Serverless::Function, Properties: {Role: !GetAtt }}}")
	f.Add("a: &a [*a]", "environments: {}",
		"Resources: !If\nGlobals: {Function: {Timeout: !If [a]}}")
	f.Add("flow: 1\nresources: []", "? [a]\n: b",
		"Parameters: []\nResources: {R: {Type: AWS::IAM::Role, Properties: !Ref X}}")
	f.Fuzz(func(t *testing.T, serverless, environments, template string) {
		files := map[string]string{"s.yaml": serverless, "scripts/env.yaml": environments,
			"template.yml": template}
		findings(t, checkServerless, files)
		findings(t, checkTemplate, files)
	})
}
