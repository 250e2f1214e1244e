//! Reports of answers in, a call with them out, without a second encoding.

use portcullis_proto::v1;
use prost::bytes::Bytes;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{GrpcMethod, Request, Response, Status};
use tonic_prost::ProstCodec;

/// The name of the service and of the method, as the contract has them.
const SERVICE: &str = "portcullis.v1.DecisionService";
const METHOD: &str = "ReportAnswered";
const PATH: &str = "/portcullis.v1.DecisionService/ReportAnswered";

/// A [`v1::ReportAnsweredRequest`] whose answers are encoded already, as whoever has to keep them over a restart has
/// them. On the wire the two are the same. A clone shares the answers.
#[derive(Clone, PartialEq, prost::Message)]
pub struct EncodedReports {
    /// Which run of the caller `dropped` is of: 16 bytes.
    #[prost(bytes = "bytes", tag = "1")]
    pub run: Bytes,
    /// How many answers of that run were dropped so far and will never be reported.
    #[prost(uint64, tag = "2")]
    pub dropped: u64,
    /// An encoded [`v1::Answered`] each, the oldest first.
    #[prost(bytes = "bytes", repeated, tag = "3")]
    pub answered: Vec<Bytes>,
}

/// What the generated client does, with the message above.
pub(crate) async fn report_answered(
    replica: Channel,
    mut request: Request<EncodedReports>,
) -> Result<Response<v1::ReportAnsweredResponse>, Status> {
    let mut grpc = Grpc::new(replica);
    grpc.ready().await.map_err(|error| Status::unknown(format!("no connection: {error}")))?;
    request.extensions_mut().insert(GrpcMethod::new(SERVICE, METHOD));
    grpc.unary(request, PathAndQuery::from_static(PATH), ProstCodec::default()).await
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    #[test]
    fn encoded_answers_are_on_the_wire_what_answers_are() {
        let answered = ["a", "b"].map(|image| v1::Answered {
            number: 7,
            containers: vec![v1::AnsweredContainer { image: image.into(), ..Default::default() }],
            ..Default::default()
        });
        let plain = v1::ReportAnsweredRequest {
            run: vec![9; 16],
            dropped: 300,
            answered: answered.to_vec(),
        };
        let encoded = answered.iter().map(|one| one.encode_to_vec().into()).collect();
        let reports = EncodedReports { run: vec![9; 16].into(), dropped: 300, answered: encoded };
        assert_eq!(reports.encode_to_vec(), plain.encode_to_vec());
    }

    #[test]
    fn the_call_is_one_that_the_contract_has() {
        assert_eq!(PATH, format!("/{SERVICE}/{METHOD}"));
        let descriptors = portcullis_proto::DESCRIPTORS;
        let set = prost_types::FileDescriptorSet::decode(descriptors).unwrap();
        let services = set
            .file
            .iter()
            .flat_map(|file| file.service.iter().map(move |service| (file.package(), service)));
        let has_it = services.into_iter().any(|(package, service)| {
            format!("{package}.{}", service.name()) == SERVICE
                && service.method.iter().any(|method| method.name() == METHOD)
        });
        assert!(has_it);
    }
}
