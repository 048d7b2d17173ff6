package main

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"weboffice-functions/shared/app"
)

// template checks template.yml. SAM takes what it does not know without a word, and CloudFormation
// answers it at deployment.
type template struct {
	*report
	file       *node
	parameters *node
	resources  *node
	functions  []string // the folders under functions
}

func checkTemplate(_ context.Context, p project, r *report) string {
	if file := readYAML(r, p.files, "template.yml"); file != nil {
		t := template{r, file, file.get("Parameters"), file.get("Resources"),
			functionNames(p.files)}
		t.apply(templateFile(), file, "template.yml")
		t.references()
		t.check()
	}
	return ""
}

// samFunction is the properties of AWS::Serverless::Function, but for events, images and inline
// code, which have no place here.
func samFunction() table {
	return table{
		"Description": aText, "FunctionName": aText, "Runtime": oneOf("provided.al2023"),
		"Handler":       oneOf("bootstrap"),
		"Architectures": literal(listOf(oneOf("arm64"))),
		"CodeUri": literal(matching(`dist/lambda/[a-z]+/?`,
			"a folder that scripts/build makes, dist/lambda/NAME")),
		"MemorySize": numeric(128, 10240, 1), "Timeout": numeric(10, 900, 1),
		"ReservedConcurrentExecutions": numeric(0, 100000, 1),
		"Environment":                  fields(table{"Variables!": mapOf(aText)}),
		"Role":                         matching(`arn:aws[\w-]*:iam::\d+:role/.+`, "a role's ARN"),
		"FunctionUrlConfig": literal(fields(table{"AuthType!": literal(oneOf("NONE")),
			"InvokeMode": literal(oneOf("BUFFERED"))})),
		"LoggingConfig": fields(table{
			"LogGroup": aText, "LogFormat": oneOf("Text", "JSON"), "ApplicationLogLevel": aText,
			"SystemLogLevel": aText,
		}),
		"VpcConfig": fields(table{"SecurityGroupIds!": anything, "SubnetIds!": anything,
			"Ipv6AllowedForDualStack": aBool}),
		"Tags": mapOf(aText), "KmsKeyArn": aText, "Tracing": oneOf("Active", "PassThrough",
			"Disabled"), "Layers": listOf(aText),
		"AutoPublishAlias": aText, "DeploymentPreference": anything,
		"ProvisionedConcurrencyConfig": anything, "SnapStart": anything,
		"EphemeralStorage": anything, "RuntimeManagementConfig": anything,
		"CodeSigningConfigArn": aText, "PropagateTags": aBool,
	}
}

func templateFile() rule {
	globals := samFunction()
	// SAM does not take them from Globals, or they are each function's own
	for _, own := range []string{"CodeUri", "FunctionName", "Role"} {
		delete(globals, own)
	}
	statement := fields(table{
		"Sid": aText, "Effect!": oneOf("Allow"),
		"Action!":   oneOrMore(matching(`[a-z0-9-]+:[A-Za-z]+`, "service:Action without *")),
		"Resource":  oneOrMore(aText),
		"Principal": fields(table{"Service!": oneOf("lambda.amazonaws.com")}),
		"Condition": mapOf(mapOf(anything)),
	})
	document := fields(table{"Version!": oneOf("2012-10-17"), "Statement!": listOf(statement)})
	typed := table{
		"AWS::Serverless::Function": fields(samFunction()),
		"AWS::Logs::LogGroup": fields(
			table{"LogGroupName": aText, "RetentionInDays!": numeric(1, 3653, 1),
				"KmsKeyId": aText}),
		"AWS::IAM::Role": fields(table{
			"RoleName!": matching(`[\w+=,.@-]{1,64}`, "a role's name"), "Description": aText,
			"AssumeRolePolicyDocument!": document,
			"MaxSessionDuration":        anything,
			"Policies": listOf(
				fields(table{"PolicyName!": aText, "PolicyDocument!": document})),
			"PermissionsBoundary": aText, "Tags": anything,
		}),
	}
	resource := rule{check: func(r *report, n *node, at string) {
		properties := anything
		if kind := n.get("Type"); kind != nil && typed[kind.text].check != nil {
			properties = typed[kind.text]
		} else {
			r.add(n.place, at+" has no type that is known here",
				"use AWS::Serverless::Function, AWS::Logs::LogGroup or AWS::IAM::Role")
		}
		fields(table{
			"Type!": aText, "Properties!": properties,
			"Metadata": fields(table{"SkipBuild": aBool}), "Condition": aText,
			"DependsOn": anything, "DeletionPolicy": oneOf("Retain", "Delete"),
			"UpdateReplacePolicy": oneOf("Retain", "Delete"),
		}).check(r, n, at)
	}}
	parameter := fields(table{
		"Type!": oneOf("String", "Number", "CommaDelimitedList"), "Default": anything,
		"NoEcho": aBool, "Description!": aText,
		"AllowedPattern": aText, "AllowedValues": listOf(anything), "ConstraintDescription": aText,
		"MinValue": aNumber, "MaxValue": aNumber, "MinLength": aNumber, "MaxLength": aNumber,
	})
	return fields(table{
		"AWSTemplateFormatVersion!": oneOf("2010-09-09"),
		"Transform!":                oneOf("AWS::Serverless-2016-10-31"), "Description!": aText,
		"Metadata": anything, "Parameters!": mapOf(parameter), "Conditions": mapOf(anything),
		"Globals":    fields(table{"Function!": fields(globals)}),
		"Resources!": mapOf(resource), "Outputs!": mapOf(
			fields(table{"Description": aText, "Value!": aText, "Export": anything})),
	})
}

var substituted = regexp.MustCompile(`\$\{([A-Za-z0-9:.]+)\}`)

// references checks that what !Ref, !GetAtt, !Sub and !If name is there, and that every parameter
// is used.
func (t template) references() {
	used := map[string]bool{}
	named := func(n *node, name string, attribute bool) {
		base, _, dotted := strings.Cut(name, ".")
		used[base] = true
		generated := t.resources.get(strings.TrimSuffix(base, "Url"), "Properties",
			"FunctionUrlConfig") != nil
		parameter := !attribute && !dotted && t.parameters.get(base) != nil
		if !strings.HasPrefix(name, "AWS::") && t.resources.get(base) == nil && !generated &&
			!parameter {
			t.add(n.place, name+" is neither a parameter nor a resource", "correct the name")
		}
	}
	t.file.walk(func(n *node) {
		if n.kind != intrinsic {
			return
		}
		argument := n.items[0]
		switch n.text {
		case "Ref":
			named(n, argument.text, false)
		case "GetAtt":
			parts := []string{argument.text}
			for _, item := range argument.items {
				parts = append(parts, item.text)
			}
			named(n, strings.TrimPrefix(strings.Join(parts, "."), "."), true)
		case "Sub":
			for _, found := range substituted.FindAllStringSubmatch(argument.text, -1) {
				named(n, found[1], false)
			}
		case "If":
			if len(argument.items) != 3 || t.file.get("Conditions", argument.items[0].text) == nil {
				t.add(n.place, "!If takes the name of a condition and two values",
					"name one that is under Conditions")
			}
		case "Not", "Equals", "And", "Or", "Join", "Select", "Split":
		default:
			t.add(n.place, n.text+" is no intrinsic function that is known here",
				"use Ref, GetAtt, Sub or If")
		}
	})
	if t.parameters == nil {
		return
	}
	shown := joined(t.file.get("Outputs"))
	for _, f := range t.parameters.fields {
		if !used[f.key] {
			t.add(f.place, "nothing uses the parameter "+f.key, "take it out")
		}
		if f.value.get("NoEcho").is("true") && (strings.Contains(shown, "\n"+f.key+"\n") ||
			strings.Contains(shown, "${"+f.key+"}")) {
			t.add(f.place, "an output shows the parameter "+f.key,
				"take the output out: NoEcho does not reach that far")
		}
	}
}

// check is what no table says.
func (t template) check() {
	deployed, roles := map[string]bool{}, map[string]bool{}
	if t.resources == nil {
		return
	}
	for _, f := range t.resources.fields {
		switch properties := f.value.get("Properties"); {
		case properties == nil:
		case f.value.get("Type").is("AWS::Serverless::Function"):
			merged := t.file.get("Globals", "Function").merged(properties)
			t.function(f, merged)
			deployed[strings.Trim(strings.TrimPrefix(joined(merged.get("CodeUri")), "dist/lambda/"),
				"/\n")] = true
			roles[roleOf(merged)] = true
		}
	}
	for _, name := range t.functions {
		if !deployed[name] {
			t.add(t.resources.place, "functions/"+name+" is not deployed",
				"add a function with CodeUri: dist/lambda/"+name)
		}
	}
	for name := range deployed {
		if !slices.Contains(t.functions, name) {
			t.add(t.resources.place, "no build makes dist/lambda/"+name,
				"there is one for each folder under functions")
		}
	}
	for name := range roles {
		if role := t.resources.get(name); role != nil && role.get("Type").is("AWS::IAM::Role") {
			t.role(name, role)
		}
	}
}

// roleOf gives the logical name of the role that a function's Role is the ARN of.
func roleOf(function *node) string {
	name, attribute, _ := strings.Cut(joinedWith(function.get("Role").call("GetAtt"), "."), ".")
	if attribute != "Arn" {
		return ""
	}
	return name
}

func joinedWith(n *node, separator string) string {
	return strings.Trim(strings.ReplaceAll(joined(n), "\n", separator), separator)
}

func (t template) function(f field, merged *node) {
	if !f.value.get("Metadata", "SkipBuild").is("true") {
		t.add(f.place, f.key+" is built by SAM",
			"Metadata: {SkipBuild: true}: scripts/build makes it, and SAM's own builds ship the wrong thing")
	}
	required := "Runtime Handler Architectures CodeUri Timeout MemorySize FunctionUrlConfig Environment LoggingConfig"
	for name := range strings.FieldsSeq(required) {
		if merged.get(name) == nil {
			t.add(f.place, f.key+" has no "+name, "add it here or under Globals.Function")
		}
	}
	if role := t.resources.get(roleOf(merged)); !role.get("Type").is("AWS::IAM::Role") {
		t.add(f.place, f.key+" has no role of this template",
			"Role: !GetAtt NAME.Arn: SAM's own has a random name, which nobody can trust")
	}
	if reserved := merged.get("ReservedConcurrentExecutions"); reserved != nil &&
		reserved.call("If") == nil {
		t.add(reserved.place, f.key+" always reserves instances",
			"!If [CONDITION, …, !Ref AWS::NoValue]: new accounts have none to reserve")
	}
	if !strings.Contains(joined(t.file.get("Outputs")), "\n"+f.key+"Url.FunctionUrl\n") {
		t.add(f.place, "no output gives the URL of "+f.key, "Value: !GetAtt "+f.key+
			"Url.FunctionUrl")
	}
	variables := merged.get("Environment", "Variables")
	if variables == nil {
		return
	}
	t.variables(variables, f.key, "AWS_", app.Required, app.RequiredOffFC, app.RequiredLambda)
	for _, v := range app.Variables() {
		value := variables.get(v.Name)
		if taken := value.call("If"); taken != nil && len(taken.items) == 3 {
			value = taken.items[1]
		}
		if !v.Secret || value == nil || t.parameters.get(joinedWith(value.call("Ref"), ""),
			"NoEcho").is("true") {
			continue
		}
		if !regexp.MustCompile(`^\{\{resolve:(secretsmanager|ssm-secure):.+\}\}$`).MatchString(
			value.text) {
			what := v.Name + " can be read by whoever sees the stack"
			t.add(value.place, what,
				"!Ref a parameter with NoEcho: true, or {{resolve:secretsmanager:…}}")
		}
	}
}

// role checks the trust and the conditions under which AWS signs a token for Alibaba Cloud.
func (t template) role(name string, role *node) {
	if !strings.Contains(joined(t.file.get("Outputs")), "\n"+name+".Arn\n") {
		t.add(role.place, "no output gives the ARN of "+name, "Value: !GetAtt "+name+
			".Arn: the RAM role's trust policy names it")
	}
	if !strings.Contains(joined(role.get("Properties", "AssumeRolePolicyDocument")),
		"\nlambda.amazonaws.com\n") {
		t.add(role.place, name+" does not trust Lambda",
			"Principal: {Service: lambda.amazonaws.com}")
	}
	tokens := false
	for _, policy := range role.get("Properties", "Policies").list() {
		for _, statement := range policy.get("PolicyDocument", "Statement").list() {
			if strings.Contains(joined(statement.get("Action")), "sts:GetWebIdentityToken\n") {
				tokens = true
				t.tokenConditions(statement)
			} else if slices.Contains(strings.Split(joined(statement.get("Resource")), "\n"), "*") {
				t.add(statement.get("Resource").place, name+": "+joinedWith(statement.get("Action"),
					" ")+" on everything", "name the resources")
			}
		}
	}
	if !tokens {
		t.add(role.place, name+" may not ask for a token",
			"Action: sts:GetWebIdentityToken, with its three conditions")
	}
}

func (t template) tokenConditions(statement *node) {
	condition := func(operator, key string) *node {
		return statement.get("Condition", operator,
			key)
	}
	audience := condition("ForAllValues:StringEquals", "sts:IdentityTokenAudience")
	if audience != nil && !condition("Null", "sts:IdentityTokenAudience").is("false") {
		t.add(audience.place, "ForAllValues is also true of no audience at all",
			"'Null': {sts:IdentityTokenAudience: 'false'}")
	}
	own := t.file.get("Globals", "Function", "Environment", "Variables",
		"ALIBABA_CLOUD_OIDC_AUDIENCE")
	if audience == nil || joined(audience) != joined(own) {
		what := "the token's audience is not held to ALIBABA_CLOUD_OIDC_AUDIENCE"
		t.add(statement.place, what,
			"Condition: {ForAllValues:StringEquals: {sts:IdentityTokenAudience: …}}")
	}
	if !condition("StringEquals", "sts:SigningAlgorithm").is("RS256") {
		t.add(statement.place, "the token's algorithm is not held to RS256",
			"Condition: {StringEquals: {sts:SigningAlgorithm: RS256}}")
	}
	duration, _ := strconv.Atoi(joinedWith(condition("NumericLessThanEquals",
		"sts:DurationSeconds"), ""))
	if duration < 60 || duration > 3600 {
		what := fmt.Sprintf("the token's life is held to %d seconds", duration)
		t.add(statement.place, what,
			"Condition: {NumericLessThanEquals: {sts:DurationSeconds: 300}}, from 60 to 3600")
	}
}
