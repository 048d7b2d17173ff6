package main

import (
	"context"
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
)

// projectFiles are this repository's own templates, with empty programs in place of the functions.
func projectFiles(t *testing.T) fstest.MapFS {
	t.Helper()
	files := fstest.MapFS{}
	for _, name := range []string{"s.yaml", "scripts/env.yaml", "template.yml"} {
		data, err := os.ReadFile("../../" + name)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = &fstest.MapFile{Data: data}
	}
	for _, function := range []string{"generate", "refresh"} {
		files["functions/"+function+"/bootstrap/main.go"] = &fstest.MapFile{
			Data: []byte("package main\n")}
	}
	return files
}

// mutation is one change of a file and a piece of the finding that it must cause.
type mutation struct{ file, old, new, want string }

// findings runs a check on the files after a change.
func findings(t *testing.T, check func(context.Context, project, *report) string,
	m mutation) []finding {
	t.Helper()
	files := projectFiles(t)
	if m.file != "" {
		before := string(files[m.file].Data)
		after := strings.Replace(before, m.old, m.new, 1)
		if after == before {
			t.Fatalf("%s does not hold %q", m.file, m.old)
		}
		files[m.file] = &fstest.MapFile{Data: []byte(after)}
	}
	r := &report{}
	check(t.Context(), project{files: files}, r)
	return r.findings
}

var findingLine = regexp.MustCompile(`^[\w./-]+:\d+(:\d+)?: .+ — .+$`)

func mutate(t *testing.T, check func(context.Context, project, *report) string,
	mutations []mutation) {
	t.Run("unchanged", func(t *testing.T) {
		for _, f := range findings(t, check, mutation{}) {
			t.Error(f)
		}
	})
	for _, m := range mutations {
		t.Run(m.want, func(t *testing.T) {
			found := findings(t, check, m)
			all := ""
			for _, f := range found {
				all += f.String() + "\n"
				if !findingLine.MatchString(f.String()) {
					t.Errorf("%q is not file:line:column: what — fix", f)
				}
			}
			if !strings.Contains(all, m.want) {
				t.Errorf("%s: %q → %q: no finding with %q in\n%s", m.file, m.old, m.new, m.want,
					all)
			}
		})
	}
}

func TestMutationsOfServerlessFiles(t *testing.T) {
	mutate(t, checkServerless, []mutation{
		{"s.yaml", "authType: anonymous", "authType: bogus",
			`generate.triggers[0].triggerConfig.authType is "bogus"`},
		{"s.yaml", "authType: anonymous", "authType: function", `authType is "function"`},
		{"s.yaml", "memorySize: 256", "memorysize: 256", "generate.memorysize is not a property"},
		{"s.yaml", "memorySize: 256", "memorySize: 250", `generate.memorySize is "250"`},
		{"s.yaml", "memorySize: 256", "memorySize: '256'", `refresh.memorySize is "256"`},
		{"s.yaml", "memorySize: 256", "memorySize: 1024", "0.2 vCPU for 1 GB"},
		{"s.yaml", "cpu: 0.2", "cpu: 0.22", `generate.cpu is "0.22"`},
		{"s.yaml", "cpu: 0.2", "cpu: 0.5", "0.5 vCPU for 0.25 GB"},
		{"s.yaml", "diskSize: 512", "diskSize: 1024", `generate.diskSize is "1024"`},
		{"s.yaml", "      timeout: 30", "      Timeout: 30", "generate has no timeout"},
		{"s.yaml", "timeout: 30", "timeout: 3", `generate.timeout is "3"`},
		{"s.yaml", "methods: [OPTIONS, GET, POST] #", "methods: [GET, POST] #",
			"generate: OPTIONS is not listed"},
		{"s.yaml", "methods: [OPTIONS, GET, POST] #", "methods: [OPTIONS, GET, PSOT] #",
			`methods[2] is "PSOT"`},
		{"s.yaml", "handler: bootstrap", "handler: index.handler",
			`generate.handler is "index.handler"`},
		{"s.yaml", "code: ./dist/fc/refresh", "code: ./functions/refresh",
			`refresh.code is "./functions/refresh"`},
		{"s.yaml", "code: ./dist/fc/refresh", "code: ./dist/fc/refrsh",
			"no build makes ./dist/fc/refrsh"},
		{"s.yaml", "code: ./dist/fc/refresh", "code: ./dist/fc/generate",
			"functions/refresh is not deployed"},
		{"s.yaml", "runtime: go1", "runtime: go1.x", `generate.runtime is "go1.x"`},
		{"s.yaml", "diskSize: 512", "diskSize: 512\n      instanceConcurrency: 20",
			"go1 takes one request per instance"},
		{"s.yaml", "region: ${vars.region}", "region: cn-shanghia",
			`generate.region is "cn-shanghia"`},
		{"s.yaml", "region: ${vars.region}", "region: ${vars.regoin}",
			"${vars.regoin} names nothing"},
		{"s.yaml", "'cn-shanghai')", "'cn-nowhere')", `refresh.region is "cn-nowhere"`},
		{"s.yaml", "role: ${env('WEBOFFICE_ROLE', 'weboffice-functions')}", "role: acs:ram::role/x",
			`generate.role is "acs:ram::role/x"`},
		{"s.yaml", "      role: ${env('WEBOFFICE_ROLE', 'weboffice-functions')}",
			"      endpoint: none", "generate has no role"},
		{"s.yaml", "${env('WEBOFFICE_ROLE', 'weboffice-functions')}", "${env('WEBOFFICE_ROLE')}",
			"WEBOFFICE_ROLE has no default"},
		{"s.yaml", "${env('WEBOFFICE_SESSION_KEYS')}",
			"${env('WEBOFFICE_SESSION_KEYS', 'c2VjcmV0')}", "WEBOFFICE_SESSION_KEYS has a default"},
		{"s.yaml", "${env('WEBOFFICE_SESSION_KEYS')}", "c2VjcmV0",
			"WEBOFFICE_SESSION_KEYS stands in a file"},
		{"s.yaml", "${env('WEBOFFICE_SESSION_KEYS')}", "${env('KEYS', 'c2VjcmV0')}",
			"WEBOFFICE_SESSION_KEYS stands in a file"},
		{"s.yaml", "WEBOFFICE_SESSION_KEYS: ", "WEBOFFICE_SESION_KEYS: ",
			"the functions do not read WEBOFFICE_SESION_KEYS"},
		{"s.yaml", "WEBOFFICE_SESSION_KEYS: ", "WEBOFFICE_SESION_KEYS: ",
			"generate has no WEBOFFICE_SESSION_KEYS"},
		{"s.yaml", "LOG_LEVEL: ", "FC_LOG_LEVEL: ", "FC_LOG_LEVEL is the platform's own"},
		{"s.yaml", "LOG_LEVEL: ", "ALIBABA_CLOUD_ACCESS_KEY_ID: ",
			"do not read ALIBABA_CLOUD_ACCESS_KEY_ID"},
		{"s.yaml", "reservedConcurrency: 20", "reserved: 20",
			"concurrencyConfig has no reservedConcurrency"},
		{"s.yaml", "logConfig: auto", "logConfig: Auto", "generate.logConfig is text"},
		{"s.yaml", "logConfig: auto", "logConfig: {project: p}", "logConfig has no logstore"},
		{"s.yaml", "functionName: weboffice-refresh", "functionName: weboffice-generate",
			"/refresh is deployed over /generate"},
		{"s.yaml", "triggerType: http", "triggerType: oss", `triggerType is "oss"`},
		{"s.yaml", "edition: 3.0.0", "edition: 2.0.0", `s.yaml.edition is "2.0.0"`},
		{"s.yaml", "component: fc3-domain", "component: fc3-domian", `component is "fc3-domian"`},
		{"s.yaml", "go run ./scripts/build", "make", "nothing builds before a deployment"},
		{"s.yaml", "[generate, refresh]", "[generate, refersh]", "flow names refersh"},
		{"s.yaml", "<<: *function", "<<: *functoin", "there is no anchor &functoin"},
		{"s.yaml", "memorySize: 256", "cpu: 0.1", "already defined"},
		{"s.yaml", "resources:\n", "resources:\n  generate: [\n", "correct the YAML"},
		{"s.yaml", "env: scripts/env.yaml", "env: env.yaml", "the file is not there"},
		{"s.yaml", "protocol: HTTPS", "protocol: HTTP", `domain.protocol is "HTTP"`},
		{"s.yaml", "minVersion: TLSv1.2", "minVersion: TLSv1.0", `minVersion is "TLSv1.0"`},
		{"s.yaml", "${resources.refresh.props.functionName}", "weboffice-refersh",
			"weboffice-refersh is no function of this file"},
		{"s.yaml", "${resources.refresh.props.functionName}",
			"${resources.refersh.props.functionName}", "names nothing"},
		{"s.yaml", "functionName: weboffice-refresh",
			"functionName: ${resources.refresh.props.functionName}", "names nothing"},

		{"scripts/env.yaml", "        refresh:\n", "        refersh:\n",
			"resources.refersh is not a property"},
		{"scripts/env.yaml", "type: testing", "type: test", `type is "test"`},
		{"scripts/env.yaml", "type: testing", "type: testing\n    region: cn-beijing",
			"region is not a property"},
		{"scripts/env.yaml", "functionName: weboffice-generate-test\n",
			"functionName: weboffice-generate-production\n",
			"production/generate is deployed over test/generate"},
		{"scripts/env.yaml", "functionName: weboffice-generate-test\n",
			"props: {functionName: x}\n", "generate.props is not a property"},
		{"scripts/env.yaml", "reservedConcurrency: 5\n", "reservedConcurrency: five\n",
			`reservedConcurrency is "five"`},
		{"scripts/env.yaml", "LOG_LEVEL: DEBUG", "LOGLEVEL: DEBUG", "do not read LOGLEVEL"},
		{"scripts/env.yaml", "LOG_LEVEL: DEBUG", "WEBOFFICE_LINK_KEYS: c2VjcmV0",
			"WEBOFFICE_LINK_KEYS stands in a file"},
		{"scripts/env.yaml", "${env('WEBOFFICE_TEST_DOMAIN', 'weboffice-test.example.com')}",
			"${env('WEBOFFICE_TEST_DOMAIN')}", "WEBOFFICE_TEST_DOMAIN has no default"},
		{"scripts/env.yaml", "# instanceConcurrency: 20", "instanceConcurrency: 20",
			"go1 takes one request per instance"},
	})
}

// TestTheLinesOfEnvironments takes the "# " off as the first lines of scripts/env.yaml say.
func TestTheLinesOfEnvironments(t *testing.T) {
	for name, c := range map[string]struct {
		lines string // the keys of the lines
		props map[string]string
	}{
		"the step to the custom runtime": {
			"runtime|instanceConcurrency|cpu|memorySize",
			map[string]string{"runtime": "custom.debian11", "instanceConcurrency": "20",
				"cpu": "0.35", "memorySize": "384", "handler": "bootstrap"},
		},
		"variables": {
			"WEBOFFICE_[A-Z_]+",
			map[string]string{"WEBOFFICE_LINK_KEYS": "WEBOFFICE_LINK_KEYS",
				"WEBOFFICE_USER_SALT":    "WEBOFFICE_USER_SALT",
				"WEBOFFICE_SESSION_KEYS": "WEBOFFICE_SESSION_KEYS"},
		},
		"all of them": {"[A-Za-z_]+", map[string]string{"runtime": "custom.debian11",
			"WEBOFFICE_LINK_KEYS": "WEBOFFICE_LINK_KEYS"}},
	} {
		t.Run(name, func(t *testing.T) {
			files := projectFiles(t)
			line := regexp.MustCompile(`(?m)^( +)# ((?:` + c.lines + `): .*)$`)
			files["scripts/env.yaml"] = &fstest.MapFile{
				Data: line.ReplaceAll(files["scripts/env.yaml"].Data, []byte("$1$2"))}
			r := &report{}
			checkServerless(t.Context(), project{files: files}, r)
			all := environments(files, readYAML(r, files, "s.yaml"), r)
			if len(all) != 3 {
				t.Fatalf("%d environments, want s.yaml's own, test and production", len(all))
			}
			for _, e := range all[1:] {
				file := serverless{report: r, files: files}.rendered(e.file, e.file)
				for _, resource := range []string{"generate", "refresh"} {
					props := file.get("resources", resource, "props")
					for name, want := range c.props {
						if !props.get(name).is(want) &&
							!props.get("environmentVariables", name).is(want) {
							t.Errorf("%s/%s: no %s: %s in\n%s", e.name, resource, name, want,
								joined(props))
						}
					}
				}
			}
			for _, f := range r.findings {
				t.Error(f)
			}
			if props := all[0].file.get("resources", "generate", "props"); !props.get("runtime").is(
				"go1") {
				t.Errorf("s.yaml itself changed: %s", joined(props))
			}
		})
	}
}

// TestTheExtrasOfEnvironments puts in what the comment at the top of scripts/env.yaml offers
// besides, and a session key of its own.
func TestTheExtrasOfEnvironments(t *testing.T) {
	found := findings(t, checkServerless, mutation{"scripts/env.yaml", "LOG_LEVEL: DEBUG",
		"LOG_LEVEL: DEBUG\n            WEBOFFICE_SESSION_KEYS: ${env('TEST_SESSION_KEYS')}\n          region: cn-beijing\n          role: acs:ram::123456789012:role/weboffice-test\n" +
			"          instanceLifecycleConfig: {initializer: {handler: bootstrap, timeout: 10}}",
		""})
	for _, f := range found {
		t.Error(f)
	}
}

func TestMutationsOfTheTemplate(t *testing.T) {
	const file = "template.yml"
	mutate(t, checkTemplate, []mutation{
		{file, "AuthType: NONE #", "AuthType: AWS_IAM #", `AuthType is "AWS_IAM"`},
		{file, "AuthType: NONE #", "AuthType: !Ref LogLevel #",
			"AuthType is the intrinsic function Ref"},
		{file, "        AuthType: NONE #", "        #", "FunctionUrlConfig has no AuthType"},
		{file, "InvokeMode: BUFFERED #", "InvokeMode: RESPONSE_STREAM #",
			`InvokeMode is "RESPONSE_STREAM"`},
		{file, "InvokeMode: BUFFERED #", "Cors: {AllowOrigins: ['*']} #",
			"FunctionUrlConfig.Cors is not a property"},
		{file, "MemorySize: 256", "MemorySie: 256", "Globals.Function.MemorySie is not a property"},
		{file, "MemorySize: 256", "MemorySie: 256", "GenerateFunction has no MemorySize"},
		{file, "MemorySize: 256", "MemorySize: 64", `MemorySize is "64"`},
		{file, "Timeout: 30", "Timeout: 3", `Timeout is "3"`},
		{file, "Runtime: provided.al2023", "Runtime: go1.x", `Runtime is "go1.x"`},
		{file, "Architectures: [arm64]", "Architectures: [x86_64]", `Architectures[0] is "x86_64"`},
		{file, "Architectures: [arm64]", "Architectures: []",
			"Architectures is no list with entries"},
		{file, "Handler: bootstrap", "Handler: main", `Handler is "main"`},
		{file, "CodeUri: dist/lambda/generate", "CodeUri: .", `CodeUri is "."`},
		{file, "CodeUri: dist/lambda/generate", "CodeUri: dist/lambda/genrate",
			"no build makes dist/lambda/genrate"},
		{file, "CodeUri: dist/lambda/generate", "CodeUri: dist/lambda/refresh",
			"functions/generate is not deployed"},
		{file, "SkipBuild: true #", "SkipBuild: false #", "GenerateFunction is built by SAM"},
		{file, "      Role: !GetAtt FunctionRole.Arn\n", "",
			"GenerateFunction has no role of this template"},
		{file, "Role: !GetAtt FunctionRole.Arn", "Role: arn:aws:iam::123456789012:role/x",
			"GenerateFunction has no role of this template"},
		{file, "!If [HasReservedConcurrency, !Ref ReservedConcurrency, !Ref AWS::NoValue]", "10",
			"GenerateFunction always reserves instances"},
		{file, "!If [HasReservedConcurrency,", "!If [HasReserved,",
			"!If takes the name of a condition"},
		{file, "WEBOFFICE_SESSION_KEYS: !Ref SessionKeys",
			"WEBOFFICE_SESSION_KEY: !Ref SessionKeys",
			"GenerateFunction has no WEBOFFICE_SESSION_KEYS"},
		{file, "WEBOFFICE_REGION: !Ref Region", "WEBOFFICE_REGOIN: !Ref Region",
			"the functions do not read WEBOFFICE_REGOIN"},
		{file, "        ALIBABA_CLOUD_OIDC_AUDIENCE: !Ref OidcAudience\n", "",
			"GenerateFunction has no ALIBABA_CLOUD_OIDC_AUDIENCE"},
		{file, "LOG_LEVEL: !Ref", "AWS_LOG_LEVEL: !Ref", "AWS_LOG_LEVEL is the platform's own"},
		{file, "WEBOFFICE_SESSION_KEYS: !Ref SessionKeys", "WEBOFFICE_SESSION_KEYS: c2VjcmV0",
			"WEBOFFICE_SESSION_KEYS can be read by whoever sees the stack"},
		{file, "WEBOFFICE_SESSION_KEYS: !Ref SessionKeys", "WEBOFFICE_SESSION_KEYS: !Ref Project",
			"WEBOFFICE_SESSION_KEYS can be read"},
		{file, "    NoEcho: true\n    Default: none #", "    Default: none #",
			"WEBOFFICE_LINK_KEYS can be read"},
		{file, "WEBOFFICE_PROJECT: !Ref Project", "WEBOFFICE_PROJECT: !Ref Projcet",
			"Projcet is neither a parameter nor a resource"},
		{file, "        WEBOFFICE_PROJECT: !Ref Project\n", "",
			"nothing uses the parameter Project"},
		{file, "WEBOFFICE_PROJECT: !Ref Project", "WEBOFFICE_PROJECT: !Reference Project",
			"Reference is no intrinsic function"},
		{file, "RoleName: !Sub ${AWS::StackName}-${AWS::Region}", "Path: /",
			"FunctionRole.Properties has no RoleName"},
		{file, "RoleName: !Sub ${AWS::StackName}", "RoleName: !Sub ${StackName}",
			"StackName is neither a parameter nor a resource"},
		{file, "Service: lambda.amazonaws.com", "Service: ec2.amazonaws.com",
			`Principal.Service is "ec2.amazonaws.com"`},
		{file, "Action: sts:GetWebIdentityToken #", "Action: 'sts:*' #", `Action is "sts:*"`},
		{file, "Action: sts:GetWebIdentityToken #", "Action: sts:GetCallerIdentity #",
			"FunctionRole may not ask for a token"},
		{file, "Action: sts:GetWebIdentityToken #", "Action: sts:GetCallerIdentity #",
			"sts:GetCallerIdentity on everything"},
		{file, "sts:IdentityTokenAudience: !Ref OidcAudience", "sts:IdentityTokenAudience: '*'",
			"audience is not held to ALIBABA_CLOUD_OIDC_AUDIENCE"},
		{file,
			"                  ForAllValues:StringEquals:\n                    sts:IdentityTokenAudience: !Ref OidcAudience\n", "", "audience is not held"},
		{file, "sts:IdentityTokenAudience: 'false'", "sts:IdentityTokenAudience: 'true'",
			"ForAllValues is also true of no audience"},
		{file, "sts:SigningAlgorithm: RS256", "sts:SigningAlgorithm: ES384",
			"algorithm is not held to RS256"},
		{file, "sts:DurationSeconds: 300", "sts:DurationSeconds: 86400", "held to 86400 seconds"},
		{file,
			"                  NumericLessThanEquals:\n                    sts:DurationSeconds: 300\n", "", "held to 0 seconds"},
		{file, "Resource: [!GetAtt GenerateLogs.Arn, !GetAtt RefreshLogs.Arn]", "Resource: '*'",
			"logs:CreateLogStream logs:PutLogEvents on everything"},
		{file, "Resource: [!GetAtt GenerateLogs.Arn,", "Resource: [!GetAtt GenerateLog.Arn,",
			"GenerateLog.Arn is neither"},
		{file, "Value: !GetAtt GenerateFunctionUrl.FunctionUrl", "Value: !Ref GenerateFunction",
			"no output gives the URL of GenerateFunction"},
		{file, "    Value: !GetAtt FunctionRole.Arn", "    Value: !Ref SessionKeys",
			"an output shows the parameter SessionKeys"},
		{file, "    Value: !GetAtt FunctionRole.Arn", "    Value: !Sub 'x-${UserSalt}'",
			"an output shows the parameter UserSalt"},
		{file, "    Value: !GetAtt FunctionRole.Arn", "    Value: !Ref FunctionRole",
			"no output gives the ARN of FunctionRole"},
		{file, "Type: AWS::Logs::LogGroup", "Type: AWS::Logs::LogGruop",
			"GenerateLogs has no type that is known here"},
		{file, "RetentionInDays: !Ref LogDays", "Retention: !Ref LogDays",
			"GenerateLogs.Properties.Retention is not a property"},
		{file, "Transform: AWS::Serverless-2016-10-31", "Transform: AWS::Serverless",
			`Transform is "AWS::Serverless"`},
		{file, "Effect: Allow", "Effect: Permit", `Effect is "Permit"`},
		{file, "    Type: String\n    NoEcho: true\n    AllowedPattern",
			"    Type: string\n    NoEcho: true\n    AllowedPattern",
			`SessionKeys.Type is "string"`},
		{file, "Outputs:\n", "Output:\n", "template.yml.Output is not a property"},
	})
}

// TestSecretsByDynamicReference is the other form in which a secret may reach a function.
func TestSecretsByDynamicReference(t *testing.T) {
	for _, f := range findings(t, checkTemplate,
		mutation{"template.yml", "!If [HasUserSalt, !Ref UserSalt, !Ref AWS::NoValue]",
			"!If [HasUserSalt, '{{resolve:secretsmanager:weboffice:SecretString:salt}}', !Ref UserSalt]", ""}) {
		t.Error(f)
	}
}
