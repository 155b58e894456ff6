package boot

import (
	"debug/buildinfo"
	"slices"
	"strconv"
	"strings"

	"github.com/pvrun/pvrun/cmd/pvrun-serve/pool"
)

// DefaultPort is where programs serve HTTP that are not told otherwise.
const DefaultPort = 8080

// servicePort is where programs find the Lambda Runtime API.
const servicePort = 9001

// lambdaModule is what programs for AWS Lambda are written with.
const lambdaModule = "github.com/aws/aws-lambda-go"

// environment is what the program has, and where it serves HTTP: what platforms for such
// programs set, but for what is said otherwise.
func (p Program) environment(image string) (env []string, port int) {
	set := func(name, value string) {
		if !slices.ContainsFunc(p.Env, func(e string) bool { return strings.HasPrefix(e, name+"=") }) {
			env = append(env, name+"="+value)
		}
	}
	may := p.contracts()
	port = p.port()
	if slices.Contains(may, pool.HTTP) {
		set("PORT", strconv.Itoa(port))
		set("K_SERVICE", p.Name)
		set("K_CONFIGURATION", p.Name)
		set("K_REVISION", p.Name+"-00001")
	}
	if slices.Contains(may, pool.Lambda) && (len(may) == 1 || usesLambda(image)) {
		p.setLambda(set)
	}
	return append(env, p.Env...), port
}

// port is what the environment says, or what was said beside.
func (p Program) port() int {
	for _, e := range slices.Backward(p.Env) {
		if text, ok := strings.CutPrefix(e, "PORT="); ok {
			if n, err := strconv.ParseUint(text, 10, 16); err == nil && n > 0 {
				return int(n)
			}
		}
	}
	if p.Port != 0 {
		return p.Port
	}
	return DefaultPort
}

// setLambda sets what the AWS Lambda Developer Guide has, "Defined runtime environment
// variables".
func (p Program) setLambda(set func(name, value string)) {
	memory := max(1, p.Memory>>20)
	set("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:"+strconv.Itoa(servicePort))
	set("AWS_LAMBDA_FUNCTION_NAME", p.Name)
	set("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
	set("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", strconv.FormatInt(memory, 10))
	set("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand")
	set("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/"+p.Name)
	set("AWS_LAMBDA_LOG_STREAM_NAME", p.Name)
	set("AWS_REGION", region)
	set("AWS_DEFAULT_REGION", region)
	set("AWS_EXECUTION_ENV", "AWS_Lambda_provided.al2023")
	set("LAMBDA_TASK_ROOT", "/var/task")
	set("LAMBDA_RUNTIME_DIR", "/var/runtime")
	set("_HANDLER", "bootstrap")
	set("TZ", ":UTC")
}

// What functions are called where ARNs are wanted: there is no account.
const (
	region  = "us-east-1"
	account = "000000000000"
)

func functionARN(name string) string {
	return "arn:aws:lambda:" + region + ":" + account + ":function:" + name
}

// usesLambda says whether an image's program was built with Lambda's module.
func usesLambda(image string) bool {
	info, err := buildinfo.ReadFile(image)
	if err != nil {
		return false
	}
	for _, m := range info.Deps {
		if m.Path == lambdaModule {
			return true
		}
	}
	return false
}
