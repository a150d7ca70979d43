import com.lesfurets.jenkins.unit.PipelineTestHelper
import com.lesfurets.jenkins.unit.cps.PipelineTestHelperCPS

/** `LibraryTest` under Jenkins' continuation-passing interpreter. */
class LibraryCpsTest extends LibraryTest {

    @Override
    PipelineTestHelper makeHelper() { return new PipelineTestHelperCPS() }

    /** A simulated step hands its body to the interpreter and does not come back. */
    @Override
    List<String> afterTheBody() { return [] }
}
