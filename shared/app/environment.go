package app

// Variable is one environment variable that the functions read.
type Variable struct {
	Name   string
	Secret bool   // its value must not be shown
	Need   Need   // who has to set it
	Use    string // one sentence for a person
}

// Need says where a Variable has to be set.
type Need int

// The needs.
const (
	Optional       Need = iota
	Required            // everywhere
	RequiredOffFC       // everywhere but on Function Compute, which says it by itself
	RequiredLambda      // on Lambda, where no platform gives RAM credentials
	Container           // optional, and read only where a container serves plain HTTP
)

// Variables lists every environment variable that an operator sets; deployment templates are
// checked against it. The platforms' own variables (FC_*, AWS_*, ALIBABA_CLOUD_ACCESS_KEY_ID and
// its companions) are not listed, nor are the endpoints of stand-ins.
func Variables() []Variable {
	return []Variable{
		{Name: "WEBOFFICE_SESSION_KEYS", Secret: true, Need: Required,
			Use: "Comma-separated base64 of 32 bytes each: the first seals tokens, all open them."},
		{Name: "WEBOFFICE_LINK_KEYS", Secret: true,
			Use: "The same form, for share links; none may equal a session key."},
		{Name: "WEBOFFICE_USER_SALT", Secret: true,
			Use: "Goes into every User.Id; set it once and never change it."},
		{Name: "WEBOFFICE_POLICY_FILE",
			Use: "The policy's path; default policy.yaml beside the program."},
		{Name: "WEBOFFICE_PROJECT", Use: "The IMM project, when the policy names none."},
		{Name: "WEBOFFICE_REGION", Need: RequiredOffFC,
			Use: "The IMM project's region; default FC_REGION."},
		{Name: "WEBOFFICE_IMM_ENDPOINT",
			Use: "A host under aliyuncs.com or a loopback URL; default imm.REGION.aliyuncs.com."},
		{Name: "ALIBABA_CLOUD_ROLE_ARN", Need: RequiredLambda,
			Use: "The RAM role that the AWS role or an OIDC token is exchanged for."},
		{Name: "ALIBABA_CLOUD_OIDC_PROVIDER_ARN", Need: RequiredLambda,
			Use: "The RAM identity provider of that exchange."},
		{Name: "ALIBABA_CLOUD_OIDC_AUDIENCE", Need: RequiredLambda,
			Use: "The audience that the AWS token is asked for and the identity provider expects."},
		{Name: "ALIBABA_CLOUD_OIDC_TOKEN_FILE",
			Use: "A file or https URL with an OIDC token, instead of the AWS role."},
		{Name: "ALIBABA_CLOUD_ECS_METADATA", Need: Container,
			Use: "The name of the RAM role that is attached to the ECS or ACK instance."},
		{Name: "WEBOFFICE_ADDR", Need: Container,
			Use: "host:port to listen on; default 127.0.0.1:8080."},
		{Name: "PORT", Need: Container,
			Use: "The port to listen on, on every interface, where WEBOFFICE_ADDR is not set."},
		{Name: "WEBOFFICE_TRUSTED_PROXIES", Need: Container,
			Use: "How many proxies stand before the container; default 0."},
		{Name: "LOG_LEVEL", Use: "DEBUG, INFO (default), WARN or ERROR."},
	}
}
